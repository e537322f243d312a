"""Words from sound, by a tiny speech model made here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmsa_suparc.data.media import ClipError
from mmsa_suparc.data.speech import Listener
from mmsa_suparc.errors import UserError
from tests.helpers.clips import make_clip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import (
        Wav2Vec2Config,
        Wav2Vec2CTCTokenizer,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForCTC,
        Wav2Vec2Processor,
    )

    folder = tmp_path_factory.mktemp("speech")
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdef"]
    (folder / "vocab.json").write_text(json.dumps({one: n for n, one in enumerate(letters)}))
    tokenizer = Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
    extractor = Wav2Vec2FeatureExtractor(return_attention_mask=False)
    Wav2Vec2Processor(feature_extractor=extractor, tokenizer=tokenizer).save_pretrained(folder)
    config = Wav2Vec2Config(
        vocab_size=len(letters), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, conv_dim=(8, 8), conv_stride=(10, 32), conv_kernel=(10, 32),
        num_feat_extract_layers=2, num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    Wav2Vec2ForCTC(config).save_pretrained(folder)
    return folder


def test_a_clip_is_heard(model: Path, tmp_path: Path) -> None:
    listen = Listener(str(model))
    heard = listen(make_clip(tmp_path / "a.mp4"))
    assert heard
    assert set(heard.replace("<unk>", "").replace("<s>", "").replace("</s>", "")) <= set("abcdef ")
    assert listen(make_clip(tmp_path / "b.mp4", sound=None)) == ""
    with pytest.raises(ClipError, match="no such file"):
        listen(tmp_path / "none.mp4")


def test_a_model_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--speech-recognition .*: no such model"):
        Listener(str(tmp_path))
