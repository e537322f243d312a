"""The network: encoders, masking, fusion."""

from __future__ import annotations

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence
from transformers import BertConfig, BertModel, DistilBertConfig, DistilBertModel

from mmsa_suparc.config import SupArcConfig
from mmsa_suparc.model import SequenceEncoder, SupArc, TextEncoder
from mmsa_suparc.names import ONE_MASKED, TWO_MASKED

TINY = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


def make_model(**options: object) -> SupArc:
    torch.manual_seed(0)
    return SupArc(
        text_encoder=TextEncoder(transformer=BertModel(BertConfig(**TINY, intermediate_size=16))),
        audio_encoder=SequenceEncoder(width=5, hidden=4),
        vision_encoder=SequenceEncoder(width=7, hidden=3),
        fusion_width=10,
        **options,
    ).eval()


def make_inputs(batch: int = 4) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    text = torch.zeros(batch, 3, 9, dtype=torch.long)
    counts = torch.tensor([9, 4, 6, 2])[:batch]
    text[:, 1] = (torch.arange(9) < counts[:, None]).long()
    text[:, 0] = torch.randint(5, 50, (batch, 9), generator=generator) * text[:, 1]
    return {
        "text": text,
        "audio": torch.randn(batch, 8, 5, generator=generator),
        "vision": torch.randn(batch, 6, 7, generator=generator),
        "audio_lengths": torch.tensor([8, 3, 5, 1])[:batch],
        "vision_lengths": torch.tensor([2, 6, 1, 4])[:batch],
    }


def test_output_has_the_toolkits_keys_and_shapes() -> None:
    x = make_inputs()
    out = make_model()(
        x["text"], (x["audio"], x["audio_lengths"]), (x["vision"], x["vision_lengths"])
    )
    shapes = {name: tuple(value.shape) for name, value in out.items()}
    assert shapes == {
        "M": (4, 1),
        "Feature_t": (4, 16),
        "Feature_a": (4, 8),
        "Feature_v": (4, 6),
        "Feature_f": (4, 10),
    }


def test_padding_does_not_matter() -> None:
    model, x = make_model(), make_inputs()
    short = model.encode(**x)
    for name in ("audio", "vision"):
        x[name] = torch.cat([x[name], torch.full((4, 5, x[name].shape[2]), 9.0)], dim=1)
    x["text"] = torch.cat([x["text"], torch.zeros(4, 3, 3, dtype=torch.long)], dim=2)
    long = model.encode(**x)
    for a, b in zip(short, long, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_sequence_encoder_equals_a_packed_bidirectional_lstm(layers: int) -> None:
    torch.manual_seed(0)
    encoder = SequenceEncoder(width=5, hidden=4, layers=layers)
    oracle = torch.nn.LSTM(5, 4, num_layers=layers, bidirectional=True, batch_first=True)
    with torch.no_grad():
        for layer in range(layers):
            for source, suffix in ((encoder.ahead, ""), (encoder.back, "_reverse")):
                for name, weight in source[layer].named_parameters():
                    getattr(oracle, name.replace("l0", f"l{layer}") + suffix).copy_(weight)
    frames, lengths = make_inputs()["audio"].requires_grad_(), torch.tensor([8, 3, 5, 1])
    out = encoder(frames, lengths)
    packed = pack_padded_sequence(frames, lengths, batch_first=True, enforce_sorted=False)
    _, (states, _) = oracle(packed)
    expected = torch.cat([states[-2], states[-1]], dim=-1)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(encoder.over_packed(frames, lengths), expected)
    assert len(encoder.state_dict()) == len(oracle.state_dict())  # it holds its parameters once
    ours = torch.autograd.grad(out.square().sum(), frames)[0]
    theirs = torch.autograd.grad(expected.square().sum(), frames)[0]
    torch.testing.assert_close(ours, theirs)
    assert not ours[1, 3:].any()  # padding gets no gradient


def test_wrong_width_is_refused_before_the_lstm() -> None:
    with pytest.raises(ValueError, match=r"expected \(B, T, 5\)"):
        SequenceEncoder(width=5, hidden=4)(torch.zeros(2, 3, 6), torch.tensor([3, 3]))


@pytest.mark.parametrize("mask_vector", ["zero", "learned"])
def test_a_masked_modality_has_no_influence(mask_vector: str) -> None:
    model, x = make_model(mask_vector=mask_vector), make_inputs()
    fused = model.fuse(model.encode(**x), ["text", "vision"])
    x["audio"] = torch.randn_like(x["audio"])
    torch.testing.assert_close(model.fuse(model.encode(**x), ["text", "vision"]), fused)
    assert not torch.allclose(model.fuse(model.encode(**x)), fused)


def test_ways_of_naming_a_subset_agree() -> None:
    model = make_model()
    encodings = model.encode(**make_inputs())
    expected = model.fuse(encodings, ["text", "vision"])
    for present in (
        (True, False, True),
        torch.tensor([True, False, True]),
        torch.tensor([[True, False, True]] * 4),
        ("vision", "text"),
    ):
        torch.testing.assert_close(model.fuse(encodings, present), expected)
    with pytest.raises(ValueError, match="unknown modality 'video'"):
        model.fuse(encodings, ["video"])
    with pytest.raises(ValueError, match="expected"):
        model.fuse(encodings, torch.tensor([True, False]))


def test_subsets_in_one_call_equal_one_by_one() -> None:
    model = make_model()
    encodings = model.encode(**make_inputs())
    subsets = ONE_MASKED + TWO_MASKED
    together = model.fuse(encodings, torch.tensor(subsets)[:, None])
    assert together.shape == (6, 4, 10)
    for row, subset in zip(together, subsets, strict=True):
        torch.testing.assert_close(row, model.fuse(encodings, subset))


def test_a_clip_without_frames_counts_as_missing() -> None:
    model, x = make_model(), make_inputs()
    x["audio_lengths"] = torch.tensor([8, 0, 5, 1])
    encodings = model.encode(**x)
    assert encodings.present.tolist() == [[True] * 3, [True, False, True], [True] * 3, [True] * 3]
    torch.testing.assert_close(
        model.fuse(encodings)[1], model.fuse(encodings, ["text", "vision"])[1]
    )


def test_all_modalities_masked_still_gives_a_score() -> None:
    model = make_model()
    score = model.predict(model.fuse(model.encode(**make_inputs()), []))
    assert torch.isfinite(score).all()
    torch.testing.assert_close(score, score[:1].expand(4, 1))


def test_frozen_text_encoder_gets_no_gradient_and_no_dropout() -> None:
    frozen = TextEncoder(
        transformer=BertModel(BertConfig(**TINY, intermediate_size=16)), finetune=False
    ).train()
    text = make_inputs()["text"]
    assert torch.equal(frozen(text), frozen(text))
    assert not frozen(text).requires_grad
    assert not any(p.requires_grad for p in frozen.parameters())


def test_learned_mask_vectors_are_trained_and_zero_ones_are_not() -> None:
    for kind, trained in (("learned", True), ("zero", False)):
        model = make_model(mask_vector=kind)
        assert all(p.requires_grad is trained for p in model.mask_vectors)
        model.fuse(model.encode(**make_inputs()), ["text"]).sum().backward()
        assert (model.mask_vectors[1].grad is not None) is trained


def test_encoders_without_segments_or_pooler() -> None:
    config = DistilBertConfig(vocab_size=50, dim=16, n_layers=1, n_heads=2, hidden_dim=16)
    encoder = TextEncoder(transformer=DistilBertModel(config))
    assert encoder.width == 16
    assert encoder(make_inputs()["text"]).shape == (4, 16)


def test_every_weight_gets_a_gradient() -> None:
    model = make_model().train()
    x = make_inputs()
    out = model(x["text"], (x["audio"], x["audio_lengths"]), (x["vision"], x["vision_lengths"]))
    out["M"].sum().backward()
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []


def test_a_configuration_makes_the_network_without_the_toolkit() -> None:
    config = SupArcConfig(
        audio_hidden=4, vision_hidden=3, fusion_width=10, lstm_layers=2, dropout=0.0,
        mask_vector="learned", modalities=["text", "vision"], use_finetune=False,
    )  # fmt: skip
    bert = BertModel(BertConfig(**TINY, intermediate_size=16))
    model = SupArc.from_config(config, transformer=bert, audio_width=5, vision_width=7).eval()
    assert model.text_encoder.transformer is bert
    assert not any(p.requires_grad for p in model.text_encoder.parameters())
    assert len(model.audio_encoder.ahead) == 2
    assert all(vector.requires_grad for vector in model.mask_vectors)
    x = make_inputs()
    encodings = model.encode(**x)
    assert [part.shape[1] for part in encodings[:3]] == [16, 8, 6]
    assert encodings.present.tolist() == [[True, False, True]] * 4
    assert model.predict(model.fuse(encodings)).shape == (4, 1)
