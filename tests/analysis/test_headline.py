"""The head of a report: which is better, by how much, and whether it is shown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mmsa_suparc.analysis.headline import sentence
from mmsa_suparc.bench.comparisons import Comparison
from mmsa_suparc.bench.resampling import mae
from mmsa_suparc.bench.statistics import Difference, paired_difference

chance = np.random.default_rng(0)
LABELS = chance.uniform(-3, 3, 400)
GROUPS = np.repeat(np.arange(40), 10)


def compared(error: float, seeds: int = 5) -> Difference:
    """A variant that errs by so much more than a reference that errs by about 0.5."""
    ours, theirs = (
        LABELS + size * np.sign(chance.normal(size=(seeds, 400))) + 0.05 * chance.normal(size=400)
        for size in (0.5 + error, 0.5)
    )
    return paired_difference(ours, theirs, LABELS, mae, groups=GROUPS)


@pytest.mark.parametrize(
    ("error", "word"), [(0.1, "lower"), (-0.1, "higher")], ids=["better", "worse"]
)
def test_a_clear_difference_is_shown(error: float, word: str) -> None:
    found = compared(error)
    said = sentence("ours", "theirs", Comparison(found, found, found.p))
    assert said.startswith(f"ours's MAE is {abs(found.value):.3f} {word} than theirs's (0.")
    low, high = sorted((abs(found.low), abs(found.high)))
    assert f"({low:.3f} to {high:.3f}): shown (p " in said


def test_what_may_be_chance_is_not_called_shown() -> None:
    found = compared(0.0)
    said = sentence("ours", "theirs", Comparison(found, found, found.p))
    assert said.endswith("not shown at this size.")
    assert "(−0." in said  # the interval holds 0


def test_a_difference_of_nothing_is_neither_lower_nor_higher() -> None:
    for value in (0.0004, -0.0004):
        found = replace(compared(0.0), value=value)
        said = sentence("ours", "theirs", Comparison(found, found, 0.9))
        assert said.startswith("ours's MAE is the same as theirs's (−0.")


def test_after_holm_it_may_be_gone_and_one_seed_is_never_tested() -> None:
    found = compared(0.1)
    assert "not shown" in sentence("ours", "theirs", Comparison(found, found, 0.2))
    alone = compared(0.1, seeds=1)
    assert "not tested" in sentence("ours", "theirs", Comparison(alone, alone, 0.0))
    unknown = replace(found, low=float("nan"), high=float("nan"), p=1.0)
    assert "(n/a to n/a)" in sentence("ours", "theirs", Comparison(unknown, unknown, 1.0))
