"""Inputs with something taken away: exactly that, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mmsa_suparc.data import missing
from mmsa_suparc.data.demo import feature_file


def inputs(*, knows_masks: bool = True, tokens: bool = True) -> missing.Inputs:
    fields = feature_file({"train": 30})["train"]
    return missing.Inputs(
        fields["text_bert" if tokens else "text"], fields["audio"], fields["vision"],
        fields["audio_lengths"], fields["vision_lengths"], tokens, knows_masks,
    )  # fmt: skip


def test_a_model_that_knows_masks_is_told() -> None:
    whole = inputs()
    part = missing.keep(whole, missing.subset(30, ["text"]))
    assert np.array_equal(part.text, whole.text)
    assert not part.audio.any()
    assert not part.vision_lengths.any()
    without = missing.keep(whole, missing.subset(30, ["audio", "vision"]))
    assert not without.text[:, 1].any()
    assert np.array_equal(without.audio, whole.audio)
    assert np.array_equal(without.audio_lengths, whole.audio_lengths)
    assert whole.text[:, 1].any()  # the inputs themselves stay


def test_another_model_sees_zeros_and_an_empty_sentence() -> None:
    whole = inputs(knows_masks=False)
    without = missing.keep(whole, missing.subset(30, ["audio"]))
    assert not without.vision.any()
    assert np.array_equal(without.vision_lengths, whole.vision_lengths)
    for row in range(30):
        last = int(whole.text[row, 1].sum()) - 1
        assert without.text[row, 0, :3].tolist() == [
            whole.text[row, 0, 0], whole.text[row, 0, last], 0,
        ]  # fmt: skip
        assert without.text[row, 1].sum() == 2
    features = missing.keep(inputs(knows_masks=False, tokens=False), missing.subset(30, ["audio"]))
    assert not features.text.any()


def test_random_modalities_keep_one_and_are_the_same_every_time() -> None:
    kept = missing.random_modalities(5_000, 0.7, seed=1)
    assert kept.any(axis=1).all()
    assert np.array_equal(kept, missing.random_modalities(5_000, 0.7, seed=1))
    # Of three lost at 0.7 one comes back: the share kept is 0.3 + 0.7³ / 3.
    assert kept.mean() == pytest.approx(0.3 + 0.7**3 / 3, abs=0.02)
    assert missing.random_modalities(10, 0.0, seed=1).all()


def test_frames_are_dropped_at_their_rate() -> None:
    whole = inputs()
    part = missing.drop_frames(whole, 0.4, seed=2)
    frames = whole.audio.any(axis=2)
    lost = frames & ~part.audio.any(axis=2)
    assert lost.sum() / frames.sum() == pytest.approx(0.4, abs=0.05)
    assert (part.text[:, 1] <= whole.text[:, 1]).all()
    assert part.text[:, 1, 0].all()
    assert np.array_equal(part.text[:, 0], whole.text[:, 0])
    assert np.array_equal(missing.drop_frames(whole, 0.0, seed=2).vision, whole.vision)


def test_noise_is_in_standard_deviations_and_leaves_padding() -> None:
    whole = inputs()
    part = missing.add_noise(whole, 2.0, seed=3)
    frames = whole.audio.any(axis=2)
    assert not part.audio[~frames].any()
    added = (part.audio - whole.audio)[frames].std(axis=0) / whole.audio[frames].std(axis=0)
    assert added == pytest.approx(np.full(12, 2.0), rel=0.15)
    assert np.array_equal(part.text, whole.text)


def test_a_clip_that_would_keep_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no modality"):
        missing.keep(inputs(), np.zeros((30, 3), dtype=bool))
    aligned = replace(inputs(), audio_lengths=None, vision_lengths=None)
    assert missing.keep(aligned, missing.subset(30, ["text"])).audio_lengths is None
