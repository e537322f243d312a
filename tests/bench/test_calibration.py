"""How often the intervals are right, in simulations whose truth is known."""

from __future__ import annotations

from itertools import product

import pytest

from benchmarks.calibration import Case, Outcome, comparisons, outcome, share
from mmsa_suparc.bench.statistics import FEW_GROUPS

CASES = [Case(*one) for one in product((10, 60), (0.0, 0.2, 0.4), (3, 5, 10))]


def lost(case: Case, found: Outcome) -> float:
    """Of the power of a test that knows the standard error."""
    return max(found.best - found.power, 0.8 - found.power_at_80)


def test_intervals_are_right_and_not_merely_wide() -> None:
    for case in (Case(10, 0.4, 3), Case(30, 0.2, 5)):
        found = outcome(case, 250)
        assert found.false <= 0.07
        assert found.covered >= 0.93
        assert lost(case, found) <= 0.15  # of 250; the slow tier looks closer


def test_clips_drawn_alone_find_what_is_not_there() -> None:
    case = Case(20, 0.4, 5)
    wrong = {
        grouped: share(one.p < 0.05 for one in comparisons(case, 0.0, 250, grouped=grouped))
        for grouped in (True, False)
    }
    assert wrong[True] <= 0.07
    assert wrong[False] > 2 * 0.05


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=str)
def test_calibration(case: Case) -> None:
    """The rows of docs/benchmarks.md."""
    found = outcome(case, 2000)
    assert found.false <= 0.07
    assert found.covered >= 0.93
    # With so few videos Student's t alone costs a tenth.
    assert lost(case, found) <= (0.14 if case.videos < FEW_GROUPS else 0.1)
