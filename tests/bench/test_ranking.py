"""Average ranks, Friedman's test and Nemenyi's difference, against scipy and printed tables."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from mmsa_suparc.analysis import ranks
from mmsa_suparc.bench.ranking import ranked, ranking
from tests.helpers.cells import make_cell, make_results

chance = np.random.default_rng(0)
LABELS = np.linspace(-2, 2, 9)
#: By number of variants, as Demšar (2006), table 5 (a), has them.
QUANTILES = {
    2: 1.960,
    3: 2.343,
    4: 2.569,
    5: 2.728,
    6: 2.850,
    7: 2.949,
    8: 3.031,
    9: 3.102,
    10: 3.164,
}


@pytest.mark.parametrize("count", [3, 6, 10])
def test_ranks_test_and_difference_are_those_of_scipy_and_the_printed_table(count: int) -> None:
    errors = chance.normal(size=(7, count)).round(1)  # with ties
    names = [f"v{place}" for place in range(count)]
    found = ranking(names, errors)
    expected = {n: stats.rankdata(errors, axis=1)[:, place].mean() for place, n in enumerate(names)}
    assert dict(zip(found.variants, found.ranks, strict=True)) == pytest.approx(expected)
    assert list(found.ranks) == sorted(found.ranks)
    test = stats.friedmanchisquare(*(errors[:, place] for place in range(count)))
    assert (found.statistic, found.p) == pytest.approx((test.statistic, test.pvalue))
    assert found.critical == pytest.approx(
        QUANTILES[count] * math.sqrt(count * (count + 1) / (6 * 7)), abs=2e-3
    )


def test_runs_join_what_lies_closer_than_the_difference_and_all_where_nothing_is_shown() -> None:
    steady = np.arange(6) + np.zeros((10, 1))
    found = ranking(list("abcdef"), steady)
    assert found.critical == pytest.approx(2.850 * math.sqrt(42 / 60), abs=2e-3)  # 2.38
    assert found.alike == [(0, 2), (1, 3), (2, 4), (3, 5)]
    mixed = np.array([np.roll(np.arange(6), place) for place in range(6)])
    assert ranking(list("abcdef"), mixed).alike == [(0, 5)]
    same = ranking(list("abc"), np.ones((5, 3)))
    assert math.isnan(same.p)
    assert same.alike == [(0, 2)]


def of_data_sets(
    root: Path, variants: int, count: int, *, without: tuple[int, str] = (-1, "")
) -> Any:
    """The later a variant, the worse in each data set; one cell may be left out."""
    return make_results(
        *(
            make_cell(root / name, f"v{v}", LABELS + 0.1 * (v + 1), LABELS, dataset=name)
            for name in (f"set-{block}" for block in range(count))
            for v in range(variants) if (v, name) != without
        ),
        reference=f"v{variants - 1}",
    )  # fmt: skip


def test_five_blocks_and_three_variants_at_least_which_are_finished_in_all(tmp_path: Path) -> None:
    assert ranked(of_data_sets(tmp_path / "a", 3, 4)) is None
    assert ranked(of_data_sets(tmp_path / "b", 2, 5)) is None
    found = ranked(of_data_sets(tmp_path / "c", 4, 5, without=(1, "set-2")))
    assert found is not None
    assert (found.variants, found.blocks) == (("v0", "v2", "v3"), 5)


def test_of_many_variants_the_best_are_shown_and_the_reference(tmp_path: Path) -> None:
    section = ranks.section(of_data_sets(tmp_path, 15, 5))
    assert section is not None
    (plot,) = section.figures["ranks"].axes
    names = [text.get_text() for text in plot.texts]
    assert len([one for one in names if "v" in one]) == 13
    assert {"15.00", "v14 (reference)"} <= set(names)
    caption = section.captions["ranks"]
    assert "the best 12 and the reference of 15 variants" in caption
    assert "p below 0.0625 with 5 blocks" in caption
    assert len(section.tables[0].rows) == 15
