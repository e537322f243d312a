"""The statistics, against known answers and known libraries."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from mmsa_suparc.bench import statistics
from mmsa_suparc.bench.results import mae

chance = np.random.default_rng(0)
LABELS = chance.uniform(-3, 3, size=200)


def predictions(spread: float, seeds: int, seed: int) -> np.ndarray:
    own = np.random.default_rng(seed)
    return LABELS + own.normal(scale=spread, size=(seeds, len(LABELS)))


def test_a_clear_difference_is_found_and_none_where_there_is_none() -> None:
    clear = statistics.paired_difference(
        predictions(0.3, 3, 1), predictions(1.5, 3, 2), LABELS, mae, resamples=1000
    )
    assert clear.low < clear.value < clear.high < 0
    assert clear.p < 0.01
    assert clear.effect < -0.5
    same = predictions(0.5, 3, 3)
    none = statistics.paired_difference(same, same, LABELS, mae, resamples=200)
    assert (none.value, none.low, none.high, none.effect) == (0, 0, 0, 0)
    assert none.p == pytest.approx(1.0)


def test_the_interval_covers_as_often_as_it_says() -> None:
    own = np.random.default_rng(5)
    covered = 0
    for _ in range(100):
        labels = own.uniform(-3, 3, size=80)
        a = labels + own.normal(scale=1.0, size=(1, 80))
        b = labels + own.normal(scale=1.0, size=(1, 80))
        d = statistics.paired_difference(a, b, labels, mae, resamples=300)
        covered += d.low <= 0 <= d.high
    assert 88 <= covered <= 100


def test_seed_level_tests_start_at_six_seeds() -> None:
    ours, theirs = predictions(0.3, 5, 1), predictions(1.5, 5, 2)
    assert statistics.paired_difference(ours, theirs, LABELS, mae, resamples=50).p_seeds is None
    ours, theirs = predictions(0.3, 6, 1), predictions(1.5, 6, 2)
    six = statistics.paired_difference(ours, theirs, LABELS, mae, resamples=50)
    assert six.p_seeds == pytest.approx(2 / 2**6)


def test_sign_flips_are_all_of_them() -> None:
    values = [0.5, -0.2, 0.9, 0.4]
    means = [abs(np.mean(np.array(signs) * np.abs(values))) for signs in product((-1, 1), repeat=4)]
    expected = np.mean([m >= abs(np.mean(values)) - 1e-12 for m in means])
    assert statistics.sign_flip_test(values) == pytest.approx(expected)
    assert statistics.sign_flip_test([0.0, 0.0]) == 1.0


def test_holm_by_hand() -> None:
    assert statistics.holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert statistics.holm([]) == []
    assert statistics.holm([0.9, 0.9]) == [1.0, 1.0]


def test_marks_need_seeds() -> None:
    assert statistics.mark(0.0001, 2) == ""
    assert [statistics.mark(p, 3) for p in (0.0001, 0.005, 0.03, 0.2)] == ["***", "**", "*", ""]


def test_interval_of_a_mean() -> None:
    low, high = statistics.interval([1.0, 2.0, 3.0])
    assert (low, high) == pytest.approx(
        (2 - 4.3027 / math.sqrt(3), 2 + 4.3027 / math.sqrt(3)), 1e-4
    )
    assert statistics.interval([2.0, 2.0]) == (2.0, 2.0)
    assert math.isnan(statistics.interval([1.0])[0])


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="expected"):
        statistics.paired_difference(np.zeros((1, 3)), np.zeros((1, 4)), np.zeros(3), mae)
