"""Frames standardised by the training split, and states pooled."""

from __future__ import annotations

import pytest
import torch

from mmsa_suparc.model import SequenceEncoder
from mmsa_suparc.model.frames import Standardise

LENGTHS = torch.tensor([8, 3, 5, 1])


def frames() -> torch.Tensor:
    made = torch.randn(4, 8, 5, generator=torch.Generator().manual_seed(1))
    return made * torch.tensor([1e-3, 1.0, 300.0, 5.0, 1.0]) + torch.tensor([0, 7.0, 0, 1e4, 0])


def test_counted_frames_have_mean_0_and_deviation_1() -> None:
    made = frames()
    given = made.clone()
    for clip, length in enumerate(LENGTHS):
        given[clip, length:] = 1e6  # padding
    given[0, 0, 4] = float("nan")
    made[0, 0, 4] = float("nan")
    standardise = Standardise(5)
    standardise.learn(given, LENGTHS)
    counted = torch.cat([made[clip, :length] for clip, length in enumerate(LENGTHS)]).double()
    for feature in range(5):
        values = counted[:, feature]
        values = values[torch.isfinite(values)]
        assert standardise.mean[feature].item() == pytest.approx(values.mean().item(), rel=1e-5)
        deviation = values.std(correction=0).item()
        assert standardise.scale[feature].item() == pytest.approx(deviation, rel=1e-5)


def test_it_does_not_depend_on_how_many_clips_are_looked_at_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = []
    for at_once in (1, 256):
        monkeypatch.setattr("mmsa_suparc.model.frames.AT_ONCE", at_once)
        standardise = Standardise(5)
        standardise.learn(frames().half().nan_to_num(posinf=0, neginf=0), LENGTHS)
        found.append(torch.cat([standardise.mean, standardise.scale]))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e5])
def test_a_constant_feature_has_scale_1(value: float) -> None:
    standardise = Standardise(2)
    standardise.learn(torch.full((3, 7, 2), value), torch.tensor([7, 7, 0]))
    assert standardise.scale.tolist() == [1.0, 1.0]
    assert standardise(torch.full((1, 1, 2), value)).abs().max() < 1e-3


def test_without_a_single_frame_nothing_changes() -> None:
    standardise = Standardise(2)
    standardise.learn(torch.full((3, 7, 2), 9.0), torch.zeros(3, dtype=torch.long))
    assert torch.equal(standardise(torch.tensor([[[3.0, 4.0]]])), torch.tensor([[[3.0, 4.0]]]))


def test_the_encoder_sees_frames_of_another_unit_as_the_same() -> None:
    encodings = []
    for factor, offset in ((1.0, 0.0), (250.0, -40.0)):
        torch.manual_seed(0)
        encoder = SequenceEncoder(width=5, hidden=4, standardise=True)
        given = torch.randn(4, 8, 5, generator=torch.Generator().manual_seed(1)) * factor + offset
        encoder.learn_scale(given, LENGTHS)
        encodings.append(encoder(given, LENGTHS))
        again = SequenceEncoder(width=5, hidden=4, standardise=True)
        again.load_state_dict(encoder.state_dict())
        assert torch.equal(again(given, LENGTHS), encodings[-1])
    torch.testing.assert_close(*encodings, atol=1e-5, rtol=1e-4)


def by_hand(encoder: SequenceEncoder, given: torch.Tensor, pooling: str) -> torch.Tensor:
    """Clip by clip, without padding."""
    rows = []
    for clip, length in enumerate(LENGTHS):
        states, _ = encoder._bidirectional()(given[clip : clip + 1, :length])
        states = states[0]
        weights = torch.full((int(length),), 1 / int(length))
        if pooling == "attention":
            weights = (states @ encoder.pooling.query / states.shape[1] ** 0.5).softmax(dim=0)
        rows.append(weights @ states)
    return torch.stack(rows)


@pytest.mark.parametrize("pooling", ["mean", "attention"])
@pytest.mark.parametrize("layers", [1, 2])
def test_pooled_states_are_those_of_the_frames_that_count(pooling: str, layers: int) -> None:
    torch.manual_seed(0)
    encoder = SequenceEncoder(width=5, hidden=4, layers=layers, pooling=pooling)
    if pooling == "attention":
        torch.nn.init.normal_(encoder.pooling.query, std=5.0)
    given = torch.randn(4, 8, 5, generator=torch.Generator().manual_seed(1))
    found = encoder(given, LENGTHS)
    torch.testing.assert_close(found, by_hand(encoder, given, pooling))
    torch.testing.assert_close(encoder.over_packed(given, LENGTHS), found)
    padded = torch.cat([given, torch.full((4, 3, 5), 1e4)], dim=1)
    torch.testing.assert_close(encoder(padded, LENGTHS), found)


def test_attention_begins_as_the_mean_and_learns_another_one() -> None:
    torch.manual_seed(0)
    attention = SequenceEncoder(width=5, hidden=4, pooling="attention")
    mean = SequenceEncoder(width=5, hidden=4, pooling="mean")
    mean.load_state_dict(attention.state_dict(), strict=False)
    given = torch.randn(4, 8, 5)
    torch.testing.assert_close(attention(given, LENGTHS), mean(given, LENGTHS))
    attention(given, LENGTHS).square().sum().backward()
    assert attention.pooling.query.grad.abs().min() > 0


@pytest.mark.parametrize("pooling", ["last", "mean", "attention"])
def test_a_length_of_0_is_read_as_one_frame(pooling: str) -> None:
    torch.manual_seed(0)
    encoder = SequenceEncoder(width=5, hidden=4, pooling=pooling, standardise=True)
    given = torch.randn(2, 8, 5)
    found = [encoder(given, torch.tensor(lengths)) for lengths in ([0, 4], [1, 4])]
    assert torch.equal(*found)
    assert torch.isfinite(found[0]).all()


def test_an_unknown_pooling_is_named() -> None:
    with pytest.raises(ValueError, match="'max'; expected one of"):
        SequenceEncoder(width=5, hidden=4, pooling="max")
