"""Which clips are positives of each other, at the very edge of the threshold."""

from __future__ import annotations

import itertools

import pytest
import torch

from mmsa_suparc.config import SupArcConfig
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
