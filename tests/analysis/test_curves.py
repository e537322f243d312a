"""Training curves: what the terms of a loss are told apart by."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import pandas as pd
from matplotlib.figure import Figure

from mmsa_suparc.analysis.curves import draw_on
from tests.helpers.legends import covered

TERMS = ("mae", "suparc", "triplet", "masked")


def drawn(terms: Sequence[str], seeds: int = 2) -> Figure:
    columns = ["loss", *(f"loss_{term}" for term in terms), "valid_MAE", "valid_Corr"]
    history = pd.DataFrame({name: [3.0, 2.0, 1.0] for name in columns})
    history = history.assign(epoch=[1, 2, 3], best=[False, False, True])
    figure = Figure()
    draw_on(figure, [history] * seeds, "SupArc on demo")
    return figure


def strokes(figure: Figure) -> dict[str, list[tuple]]:
    """By term, offset and pattern of each seed's line, and its colour."""
    legend = figure.legends[0]
    named = zip(legend.get_texts(), legend.get_lines(), strict=True)
    of_colour = {line.get_color(): text.get_text() for text, line in named}
    found: dict[str, list[tuple]] = {name: [] for name in of_colour.values()}
    for line in figure.axes[0].lines:
        found[of_colour[line.get_color()]].append((line._dash_pattern, line.get_color()))
    return found


def test_each_term_has_a_stroke_of_its_own_that_all_seeds_share() -> None:
    found = strokes(drawn(TERMS))
    assert list(found) == ["total, weighted", *TERMS]
    assert all(len(of) == 2 and of[0] == of[1] for of in found.values())
    patterns = [of[0][0] for of in found.values()]
    assert all(one != other for one, other in combinations(patterns, 2))
    legend = drawn(TERMS).legends[0]
    assert [line._dash_pattern for line in legend.get_lines()] == patterns


def test_a_term_looks_the_same_in_the_curves_of_every_run() -> None:
    whole, part = strokes(drawn(TERMS)), strokes(drawn(["mae", "masked"]))
    assert part == {name: whole[name] for name in ("total, weighted", "mae", "masked")}


def test_terms_of_other_models_are_told_apart_from_suparc_s() -> None:
    others = [f"own{n}" for n in range(9)]
    lines = drawn([*TERMS, *others], seeds=1).axes[0].lines
    assert len(lines) == 14
    looks = [(line._dash_pattern, line.get_color()) for line in lines]
    assert all(one != other for one, other in combinations(looks, 2))


def test_the_legend_lies_beside_the_curves() -> None:
    assert covered(drawn(TERMS)) == []
