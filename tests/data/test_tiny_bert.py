"""The embedded data set's encoder: an ordinary folder, the same to the last byte."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModel, BertConfig, BertModel

from mmsa_suparc.data import fingerprints, tiny_bert
from mmsa_suparc.errors import DiskError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad"]


def test_transformers_reads_it_as_one_of_its_own() -> None:
    tiny_bert.write(Path("encoder"), WORDS, width=16)
    model, told = AutoModel.from_pretrained("encoder", output_loading_info=True)
    assert type(model) is BertModel
    assert not any(told.values())
    torch.manual_seed(0)
    shape = {"vocab_size": 6, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    theirs = BertModel(BertConfig(**shape, num_attention_heads=4, max_position_embeddings=128))
    ours = model.state_dict()
    assert ours.keys() == theirs.state_dict().keys()
    for name, weight in theirs.state_dict().items():
        assert ours[name].shape == weight.shape
        if weight.numel() > 200:  # as BERT draws them
            assert float(ours[name].std()) == pytest.approx(float(weight.std()), rel=0.2)
        elif weight.unique().numel() == 1:
            assert torch.equal(ours[name], weight)


def test_it_is_the_same_again_and_kept() -> None:
    for name in ("one", "two"):
        tiny_bert.write(Path(name), WORDS, width=16)
    assert fingerprints.of_folder(Path("one")) == fingerprints.of_folder(Path("two"))
    tiny_bert.write(Path("other"), WORDS, width=16, seed=1)
    assert fingerprints.of_folder(Path("other")) != fingerprints.of_folder(Path("one"))
    tiny_bert.write(Path("one"), WORDS, width=32)
    assert fingerprints.of_folder(Path("one")) == fingerprints.of_folder(Path("two"))
    assert sorted(path.name for path in Path().iterdir()) == ["one", "other", "two"]


def test_where_it_cannot_be_written_nothing_is_left() -> None:
    Path("file").touch()
    with pytest.raises(DiskError, match="cannot write"):
        tiny_bert.write(Path("file") / "encoder", WORDS, width=16)
