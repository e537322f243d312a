"""Our metrics equal the toolkit's on ordinary and edge arrays, and define the rest."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch

from mmsa_suparc.errors import DivergedError
from mmsa_suparc.metrics import mosi_metrics, sims_metrics
from mmsa_suparc.toolkit import modules


def arrays() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    score = np.round(rng.uniform(-3, 3, 300) * 5) / 5
    halves = np.arange(-3.5, 4, 0.5)
    return {
        "ordinary": (score + rng.normal(size=300), score),
        "perfect": (score, score),
        "opposite": (-score, score),
        "halves": (halves, halves[::-1].copy()),
        "zeros predicted": (np.where(score > 1, 0.0, score + 0.1), score),
        "beyond the range": (score * 3, score),
        "one sign": (np.abs(score) + 0.1, score),
        "small": (score / 10, score / 3),
        "on the cuts": (
            np.array([-1, -0.7, -0.1, 0, 0.1, 0.7, 1]),
            np.array([-0.7, -0.1, 0, 0.1, 0.7, 1, -1]),
        ),
    }


@pytest.mark.parametrize("name", arrays())
@pytest.mark.parametrize(("dataset", "ours"), [("MOSI", mosi_metrics), ("SIMS", sims_metrics)])
def test_equal_to_the_toolkit(name: str, dataset: str, ours: object) -> None:
    prediction, score = (torch.tensor(a, dtype=torch.float32) for a in arrays()[name])
    expected = (
        modules.module("utils").MetricsTop("regression").getMetics(dataset)(prediction, score)
    )
    measured = ours(prediction.numpy(), score.numpy())
    assert list(measured) == list(expected)
    for metric, value in expected.items():
        assert measured[metric] == pytest.approx(float(value), abs=1e-9), metric


@pytest.mark.parametrize("ours", [mosi_metrics, sims_metrics])
def test_what_does_not_exist_is_nan_and_nothing_warns(ours: object) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        constant = ours(np.ones(4), np.array([-1.0, 0, 0.5, 1]))
        zeros = ours(np.array([0.1, -0.2]), np.zeros(2))
        one = ours(np.array([0.5]), np.array([1.0]))
        none = ours(np.empty(0), np.empty(0))
    assert all(math.isnan(m["Corr"]) for m in (constant, zeros, one, none))
    assert constant["MAE"] == pytest.approx(0.875)
    assert zeros["MAE"] == pytest.approx(0.15)
    assert all(math.isnan(value) for value in none.values())
    if ours is mosi_metrics:
        assert math.isnan(zeros["Non0_acc_2"])
        assert math.isnan(zeros["Non0_F1_score"])
        assert one["Has0_acc_2"] == 1.0


def test_predictions_that_are_not_finite_are_refused() -> None:
    for bad in (np.nan, np.inf):
        with pytest.raises(DivergedError, match="1 of 2 predictions"):
            mosi_metrics(np.array([0.0, bad]), np.zeros(2))


def test_order_of_the_f1_arguments() -> None:
    # Weighted by the truth's classes: three negatives, one positive.
    score = np.array([-1.0, -1, -1, 1])
    prediction = np.array([-1.0, 1, 1, 1])
    negative, positive = 2 * 1 / (1 + 3), 2 * 1 / (3 + 1)
    expected = 0.75 * negative + 0.25 * positive
    assert mosi_metrics(prediction, score)["Non0_F1_score"] == pytest.approx(expected)
