"""Who is ahead in most data sets or folds? Average ranks, as Demšar's diagram shows them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmsa_suparc.analysis.section import Section
from mmsa_suparc.analysis.style import BLACK, GRAY, LINE, PAGE, axes, lines_of, wrapped
from mmsa_suparc.bench.ranking import LEVEL, Ranking, ranked
from mmsa_suparc.bench.results import Results
from mmsa_suparc.bench.statistics import p_in_words
from mmsa_suparc.bench.tables import Entry, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Of more variants only the best so many have room, and the reference.
MOST_SHOWN = 12
#: Heights in rows of names below the line of ranks: its numbers' upper end, the critical difference
#: and its upper end, the first name without bars, and a bar.
NUMBERS, CRITICAL, TOP, BARS, BAR = -1.2, -1.7, -2.8, 0.9, 0.4


def section(results: Results) -> Section | None:
    """There where enough variants are finished in enough data sets or folds."""
    found = ranked(results)
    if found is None:
        return None
    plan = results.plan
    blocks = "data sets" if plan.folds is None else "folds"
    if plan.folds is not None and len(plan.datasets) > 1:
        blocks = "folds of all data sets"
    shared = "" if plan.folds is None else (
        f" Folds share most of their training clips, so they are not {found.blocks} independent "
        "answers, and all of this is too sure of itself."
    )  # fmt: skip
    made = Section(
        f"Average ranks over {blocks}",
        f"In each block, one of {found.blocks} {blocks}, variants are ranked by their MAE, mean "
        "over seeds. The tables of differences with their intervals are what counts; ranks say "
        "how steadily one is ahead, and not by how much.",
        [_table(found)],
    )
    shown = shown_places(found, plan.reference)
    few = "" if len(shown) == len(found.variants) else (
        f" Shown are the best {MOST_SHOWN}"
        f"{' and the reference' if len(shown) > MOST_SHOWN else ''} of {len(found.variants)} "
        "variants, ranked and tested among all."
    )  # fmt: skip
    made.draw(
        "ranks",
        diagram(found, shown, plan.reference),
        f"Average rank by MAE over {found.blocks} {blocks}; 1 is best. A bar joins variants whose "
        f"difference is not shown. {_test(found)} Nemenyi's test, because pairwise signed-rank "
        f"tests, which do not depend on the other variants, cannot give a p below "
        f"{2.0 ** (1 - found.blocks):.3g} with {found.blocks} blocks, before any correction for "
        f"{math.comb(len(found.variants), 2)} pairs.{shared} The power is small.{few}",
    )
    return made


def _test(found: Ranking) -> str:
    """Friedman's test and the critical difference, in words."""
    if not math.isfinite(found.p):
        return "All variants are alike in every block."
    return (
        f"Friedman's test: χ² = {found.statistic:.1f}, {p_in_words(found.p)}; critical difference "
        f"(CD, 5%): {found.critical:.2f} ranks, asked only where Friedman's p is below 0.05."
    )


def _table(found: Ranking) -> Table:
    table = Table(
        "ranks", f"Average ranks over {found.blocks} blocks", ["variant", "average rank"],
        notes=[f"1 is best. {_test(found)}"],
    )  # fmt: skip
    for variant, rank in zip(found.variants, found.ranks, strict=True):
        table.rows.append([Entry(variant), Entry(f"{rank:.2f}", float(rank))])
    return table


def shown_places(found: Ranking, reference: str) -> list[int]:
    """The places of the best variants, and that of the reference if it is none of them."""
    best = list(range(min(MOST_SHOWN, len(found.variants))))
    place = found.variants.index(reference)
    return best if place in best else [*best, place]


def diagram(found: Ranking, shown: Sequence[int], reference: str) -> Figure:
    """Ranks on a line, each variant's name at the end of a line of its own, bars that join the
    variants whose difference is not shown, and the critical difference above, if it was asked.

    Args:
        shown: places of the variants that are drawn, ascending.
        reference: is called so.
    """
    runs = [[p for p in shown if first <= p <= last] for first, last in found.alike]
    runs = [run for run in runs if len(run) > 1]
    left = shown[: -(-len(shown) // 2)]
    first_row = BARS + BAR * len(runs)
    bottom = first_row + len(left) - 0.4
    low, high = math.floor(found.ranks[shown[0]]), math.ceil(found.ranks[shown[-1]])
    high = max(high, low + 1)
    asked = found.p < LEVEL and found.critical <= high - low
    top = TOP if asked else NUMBERS
    names = [
        wrapped(f"{name} (reference)" if name == reference else name) for name in found.variants
    ]
    row_height = max(0.24, LINE * lines_of(names[place] for place in shown) + 0.04)
    figure, (plot,) = axes(width=PAGE, height=row_height * (bottom - top) + 0.3)
    for place in shown:
        rank, on_left = found.ranks[place], place in left
        row = first_row + (left.index(place) if on_left else shown[::-1].index(place))
        end, sign = (low, -1) if on_left else (high, 1)
        plot.plot([rank, rank, end], [0, row, row], color=GRAY, lw=0.8, clip_on=False)
        for words, away in ((f"{rank:.2f}", 4), (names[place], 34)):
            plot.annotate(
                words, (end, row), xytext=(away * sign, 0), textcoords="offset points", fontsize=8,
                va="center", ha="right" if on_left else "left", annotation_clip=False,
            )  # fmt: skip
    for number, run in enumerate(runs):
        ends = found.ranks[run[0]], found.ranks[run[-1]]
        plot.plot(ends, [BARS - 0.4 + BAR * number] * 2, color=BLACK, lw=3.5)
    if asked:
        ends = low, low + found.critical
        plot.plot(ends, [CRITICAL] * 2, "|-", color=BLACK, lw=1.2, ms=7)
        plot.text(
            sum(ends) / 2, CRITICAL - 0.3, f"CD = {found.critical:.2f}", ha="center", va="bottom",
            fontsize=8,
        )  # fmt: skip
    plot.set_xlim(low, high)
    plot.set_ylim(bottom, top)
    plot.spines[["left", "bottom"]].set_visible(False)
    plot.spines["top"].set(visible=True, position=("data", 0))
    plot.set_yticks([])
    plot.xaxis.tick_top()
    plot.tick_params(labelsize=8)
    plot.xaxis.get_major_locator().set_params(integer=True)
    plot.set_title("average rank by MAE, 1 is best", fontsize=9)
    return figure
