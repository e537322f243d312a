"""What comes before the fusion: norms, presence flags, a dropout mask that subsets share."""

from __future__ import annotations

import pytest
import torch

from mmsa_suparc.model.fusion import SharedDropout
from mmsa_suparc.names import MODALITIES, ONE_MASKED, TWO_MASKED
from tests.model.test_suparc import make_inputs, make_model

SUBSETS = torch.tensor([(True,) * 3, *ONE_MASKED, *TWO_MASKED])[:, None]


def test_the_fusion_tells_a_zero_encoding_from_an_absent_one_by_its_flags() -> None:
    for flags in (False, True):
        model = make_model(presence_flags=flags)
        encodings = model.encode(**make_inputs())
        silent = encodings._replace(audio=torch.zeros_like(encodings.audio))
        told, untold = model.fuse(silent), model.fuse(silent, ["text", "vision"])
        assert torch.allclose(told, untold) != flags
        together = model.fuse(encodings, SUBSETS)
        for subset, fused in zip(SUBSETS[:, 0], together, strict=True):
            torch.testing.assert_close(model.fuse(encodings, subset), fused)


def test_flags_are_not_dropped() -> None:
    model = make_model(presence_flags=True, dropout=0.99).train()
    zero = [torch.zeros_like(part) for part in model.encode(**make_inputs())[:3]]
    encodings = model.encode(**make_inputs())
    encodings = encodings._replace(text=zero[0], audio=zero[1], vision=zero[2])
    assert torch.equal(model.fuse(encodings), model.fuse(encodings))


@pytest.mark.parametrize("norm", ["layer_norm", "projection"])
def test_a_normalised_encoding_counts_by_its_direction_alone(norm: str) -> None:
    model = make_model(fusion_norm=norm)
    encodings = model.encode(**make_inputs())
    larger = encodings._replace(**{name: 100.0 * getattr(encodings, name) for name in MODALITIES})
    if norm == "projection":  # whose offset is no direction
        for part in model.norms:
            torch.nn.init.zeros_(part[0].bias)
    torch.testing.assert_close(model.fuse(larger), model.fuse(encodings), atol=1e-3, rtol=1e-3)
    plain = make_model()
    assert not torch.allclose(plain.fuse(larger), plain.fuse(encodings), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("norm", ["layer_norm", "projection"])
def test_an_absent_modality_is_its_mask_vector_behind_the_norm(norm: str) -> None:
    model = make_model(fusion_norm=norm, mask_vector="learned")
    torch.nn.init.normal_(model.mask_vectors[1])
    widths = {"layer_norm": [16, 8, 6], "projection": [10, 10, 10]}[norm]
    assert [len(vector) for vector in model.mask_vectors] == widths
    encodings = model.encode(**make_inputs())
    other = encodings._replace(audio=torch.randn_like(encodings.audio))
    kept = ["text", "vision"]
    assert torch.equal(model.fuse(encodings, kept), model.fuse(other, kept))
    before = model.fuse(encodings, kept)
    torch.nn.init.normal_(model.mask_vectors[1], mean=3.0)
    assert not torch.allclose(model.fuse(encodings, kept), before)


def test_subsets_of_a_call_share_a_dropout_mask_and_clips_do_not() -> None:
    torch.manual_seed(0)
    dropout = SharedDropout(0.5)
    dropped = dropout(torch.ones(7, 4, 1000))
    assert torch.equal(dropped, dropped[:1].expand(7, 4, 1000))
    assert dropped.unique().tolist() == [0.0, 2.0]
    assert not torch.equal(dropped[0, 0], dropped[0, 1])
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.1)
    assert torch.equal(dropout.eval()(torch.ones(7, 4, 9)), torch.ones(7, 4, 9))


def test_an_unknown_norm_is_named() -> None:
    with pytest.raises(ValueError, match="'batch'; expected one of"):
        make_model(fusion_norm="batch")


def test_the_default_network_has_the_weights_that_it_had() -> None:
    names = {name.split(".")[0] for name in make_model().state_dict()}
    assert names == {
        "text_encoder", "audio_encoder", "vision_encoder", "fusion", "prediction", "mask_vectors",
    }  # fmt: skip
