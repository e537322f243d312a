"""Which clips are positives of each other, at the very edge of the threshold."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from mmsa_suparc.config import SupArcConfig
from mmsa_suparc.losses import suparc_loss
from mmsa_suparc.losses.pairs import positive_pairs
from mmsa_suparc.toolkit import settings

#: The labels that MOSI and CH-SIMS have: fifths, as float32 holds them.
FIFTHS = torch.tensor([step / 5 for step in range(-15, 16)])


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_pair_exactly_at_the_threshold_is_positive(steps: int) -> None:
    positives = positive_pairs(FIFTHS, sampling="threshold", threshold=steps / 5)
    places = range(len(FIFTHS))
    for i, j in itertools.product(places, places):
        assert bool(positives[i, j]) is (abs(i - j) <= steps), (i, j)


def test_a_pair_beyond_the_threshold_by_a_hundredth_is_not() -> None:
    scores = torch.tensor([0.0, 0.21])
    assert not positive_pairs(scores, sampling="threshold", threshold=0.2)[0, 1]


def test_neighbouring_scores_of_ch_sims_are_positives_by_default(
    registered: None,
) -> None:
    config = SupArcConfig(
        **{
            key: value
            for key, value in settings.load("suparc", "sims").values.items()
            if key in SupArcConfig.model_fields
        }
    )
    scores = FIFTHS[FIFTHS.abs() <= 1.001]
    positives = positive_pairs(scores, sampling="threshold", threshold=config.threshold)
    assert positives.diagonal(1).all()
    assert not positives.diagonal(2).any()


def test_the_classes_are_the_sign_and_the_seven_of_the_toolkit() -> None:
    scores = torch.tensor([-3.0, -2.5, -0.4, 0.0, 0.2, 0.5, 1.5, 2.2, 2.8])
    signs = positive_pairs(scores, sampling="class", threshold=9.0)
    assert torch.equal(signs[4], torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 1]).bool())
    seven = positive_pairs(scores, sampling="rounded", threshold=9.0)
    rounded = np.round(scores.numpy())  # as the toolkit's Mult_acc_7
    assert seven.tolist() == (rounded[:, None] == rounded[None, :]).tolist()
    assert seven[4].sum() == 4  # -0.4, 0, 0.2 and 0.5


@pytest.mark.parametrize(("sampling", "moves"), [("class", True), ("rounded", False)])
def test_within_a_class_the_margin_grows_with_the_difference(sampling: str, moves: bool) -> None:
    # 0.2 and 2.8 are of one sign, and of two rounded scores; -2 makes every clip an anchor's other.
    scores = torch.tensor([0.2, 2.8, -2.0])
    features = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.8, 0.6]])
    numbers = {"sampling": sampling, "margin_on": "positives", "margin_sign": "add"}
    without, with_margin = (
        suparc_loss(features, scores, margin=margin, **numbers) for margin in (0.0, 0.1)
    )
    assert (with_margin > without + 0.5) == moves
