"""The statistics, against known answers; ``test_calibration`` asks how often they are right."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mmsa_suparc.bench import statistics
from mmsa_suparc.bench.resampling import SumMetric, clipped_mae, correlation, mae
from mmsa_suparc.bench.statistics import paired_difference
from mmsa_suparc.metrics import mosi_metrics, sims_metrics

chance = np.random.default_rng(0)
LABELS = chance.uniform(-3, 3, size=200)
VIDEOS = np.array([f"video {n}" for n in chance.integers(20, size=200)])


def predictions(spread: float, seeds: int, seed: int) -> np.ndarray:
    own = np.random.default_rng(seed)
    return LABELS + own.normal(scale=spread, size=(seeds, len(LABELS)))


def test_a_clear_difference_is_found_and_none_where_there_is_none() -> None:
    ours, reference = predictions(0.3, 3, 1), predictions(1.5, 4, 2)
    clear = paired_difference(ours, reference, LABELS, mae, groups=VIDEOS)
    errors = (np.abs(side - LABELS).mean() for side in (ours, reference))
    assert clear.value == pytest.approx(next(errors) - next(errors))
    assert clear.low < clear.value < clear.high < 0
    assert clear.p < 0.001
    assert (clear.clips, clear.groups, clear.grouped) == (200, 20, True)
    assert (clear.seeds, clear.reference_seeds) == (3, 4)


def test_it_is_the_difference_of_means_and_not_of_ensembles() -> None:
    """Seeds that disagree make a better ensemble, and no better model."""
    disagree, agree = predictions(1.0, 5, 1), np.repeat(predictions(1.0, 1, 2), 5, axis=0)
    means = paired_difference(disagree, agree, LABELS, mae, groups=VIDEOS)
    assert means.p > 0.05
    averaged = (side.mean(axis=0)[None] for side in (disagree, agree))
    assert paired_difference(*averaged, LABELS, mae, groups=VIDEOS).p < 0.001


def test_clips_that_say_the_same_count_once() -> None:
    """A clip of each video shown ten times: no more is known than from one."""
    ours, reference = predictions(1.0, 1, 1), predictions(1.1, 1, 2)
    once = paired_difference(ours, reference, LABELS, mae, groups=np.arange(200))
    tenfold = paired_difference(
        *(np.repeat(side, 10, axis=1) for side in (ours, reference)), np.repeat(LABELS, 10), mae,
        groups=np.repeat(np.arange(200), 10),
    )  # fmt: skip
    assert (tenfold.low, tenfold.high) == pytest.approx((once.low, once.high))
    naive = paired_difference(
        *(np.repeat(side, 10, axis=1) for side in (ours, reference)), np.repeat(LABELS, 10), mae
    )
    assert naive.high - naive.low < 0.4 * (once.high - once.low)
    assert (naive.grouped, naive.groups) == (False, 2000)


def test_what_seeds_differ_by_is_in_the_interval() -> None:
    """All clips of a seed are off by the same: videos agree, and only seeds tell how far."""
    offsets = {"ours": np.array([0.1, 0.4, 0.7]), "reference": np.array([0.2, 0.5, 0.8])}
    sides = [LABELS + values[:, None] for values in offsets.values()]
    found = paired_difference(*sides, LABELS, mae, groups=VIDEOS)
    error = math.sqrt(2 * np.var([0.1, 0.4, 0.7], ddof=1) / 3)
    assert found.value == pytest.approx(-0.1)
    assert found.high - found.value == pytest.approx(2.776 * error, rel=1e-3)  # t with 4
    assert found.components.seeds == pytest.approx(2 * 0.09)
    assert found.components.groups == pytest.approx(0, abs=1e-12)


def test_p_is_small_where_zero_is_outside() -> None:
    sides = []
    for place in range(60):
        ours, reference = predictions(1.0, 2, place), predictions(1.12, 2, 100 + place)
        found = paired_difference(ours, reference, LABELS, mae, groups=VIDEOS, resamples=200)
        assert (found.p < 0.05) == (not found.low <= 0 <= found.high)
        sides.append(found.p < 0.05)
    assert 5 < sum(sides) < 55


NOTHING = np.empty((2, 0))
ONE = np.ones((3, 1))
NAN = np.full((3, 200), np.nan)
#: ours, reference, labels, groups; then the value and whether the interval is known.
DEGENERATE = {
    "no clip": (NOTHING, NOTHING, np.empty(0), None, math.nan, False),
    "one clip": (ONE, 2 * ONE, np.zeros(1), None, -1.0, False),
    "one group": (predictions(1, 3, 1), predictions(2, 3, 2), LABELS, ["a"] * 200, None, False),
    "one seed a side": (predictions(1, 1, 1), predictions(1, 1, 2), LABELS, VIDEOS, None, True),
    "one seed on a side": (predictions(1, 1, 1), predictions(1, 3, 2), LABELS, VIDEOS, None, True),
    "NaN": (NAN, predictions(1, 3, 2), LABELS, VIDEOS, math.nan, False),
    "the same": (predictions(1, 3, 1), predictions(1, 3, 1), LABELS, VIDEOS, 0.0, True),
    "the same in another order": (
        predictions(1, 3, 1), predictions(1, 3, 1)[::-1], LABELS, VIDEOS, 0.0, True,
    ),
    "two groups": (
        predictions(1, 3, 1), predictions(1, 3, 2), LABELS, VIDEOS > "video 2", None, True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DEGENERATE)
@pytest.mark.parametrize("metric", [mae, correlation, lambda x, y: mae(x, y)])
def test_the_degenerate_is_defined(name: str, metric: Callable) -> None:
    ours, reference, labels, groups, value, known = DEGENERATE[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = paired_difference(ours, reference, labels, metric, groups=groups, resamples=300)
    if metric is not correlation and value is not None:
        assert found.value == pytest.approx(value, nan_ok=True)
    if metric is not correlation or name in ("the same", "no clip", "one group"):
        assert math.isfinite(found.low) == math.isfinite(found.high) == known
    assert 0 <= found.p <= 1
    if not math.isfinite(found.low) or found.value == 0:
        assert found.p == 1
        assert statistics.mark(found.p, found) == ""
    if found.seeds == 1:
        assert math.isnan(found.components.seeds)


def test_few_seeds_and_few_groups_carry_no_mark() -> None:
    found = paired_difference(
        predictions(0.3, 3, 1), predictions(1.5, 3, 2), LABELS, mae, groups=VIDEOS
    )
    assert [statistics.mark(p, found) for p in (0.0001, 0.005, 0.03, 0.2)] == ["***", "**", "*", ""]
    assert statistics.mark(0.0001, replace(found, reference_seeds=2)) == ""
    assert statistics.mark(0.0001, replace(found, groups=4)) == ""


@pytest.mark.parametrize(
    ("metric", "slow"),
    [(mae, "MAE"), (correlation, "Corr"), (clipped_mae, "MAE of sims")],
)
def test_sums_are_enough(metric: SumMetric, slow: str) -> None:
    """The metric is the toolkit's (float32, four places), and so are its intervals."""
    measure = sims_metrics if "sims" in slow else mosi_metrics
    ours, reference = predictions(1.0, 3, 1), predictions(1.3, 3, 2)
    name = slow.split()[0]
    assert metric(ours[0], LABELS) == pytest.approx(measure(ours[0], LABELS)[name], abs=1e-4)
    sides = {"groups": VIDEOS, "resamples": 500}
    fast = paired_difference(ours, reference, LABELS, metric, **sides)
    plain = paired_difference(ours, reference, LABELS, lambda x, y: metric(x, y), **sides)
    for key in ("value", "low", "high", "p"):
        assert getattr(fast, key) == pytest.approx(getattr(plain, key))


def test_any_metric_can_be_compared() -> None:
    def accuracy(x: np.ndarray, y: np.ndarray) -> float:
        return float(((x >= 0) == (y >= 0)).mean())

    found = paired_difference(
        predictions(0.3, 3, 1), predictions(2.5, 3, 2), LABELS, accuracy, groups=VIDEOS
    )
    assert 0 < found.low < found.value < found.high
    assert found.p < 0.01


def test_a_table_takes_a_second_or_two() -> None:
    """27 cells × 5,000 draws, of MOSI's size."""
    own = np.random.default_rng(1)
    labels, videos = own.uniform(-3, 3, 1513), own.integers(62, size=1513)
    sides = labels + own.normal(size=(28, 5, 1513))
    started = time.process_time()
    for side in sides[1:]:
        paired_difference(side, sides[0], labels, mae, groups=videos, resamples=5000)
    assert time.process_time() - started < 6  # measured: 0.6


def test_holm_by_hand() -> None:
    assert statistics.holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert statistics.holm([]) == []
    assert statistics.holm([0.9, 0.9]) == [1.0, 1.0]


@pytest.mark.parametrize(
    ("ours", "reference", "labels", "groups"),
    [
        (np.zeros((1, 3)), np.zeros((1, 4)), np.zeros(3), None),
        (np.zeros((1, 3)), np.zeros((1, 3)), np.zeros(4), None),
        (np.zeros(3), np.zeros((1, 3)), np.zeros(3), None),
        (np.zeros((0, 3)), np.zeros((1, 3)), np.zeros(3), None),
        (np.zeros((1, 3)), np.zeros((1, 3)), np.zeros(3), ["a", "b"]),
    ],
)
def test_shapes_are_checked(
    ours: np.ndarray, reference: np.ndarray, labels: np.ndarray, groups: list | None
) -> None:
    with pytest.raises(ValueError, match="expected"):
        paired_difference(ours, reference, labels, mae, groups=groups)
