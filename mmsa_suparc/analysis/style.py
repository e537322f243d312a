"""One look for all figures: sizes of letters, and what a colour and a marker mean.

Colours are those of Okabe and Ito (2008), which people with any common colour blindness tell
apart; a marker or a stroke beside each, so that they can be told apart in grey too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mmsa_suparc.names import LOSS_TERMS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLACK, BLUE, ORANGE, GREEN = "#000000", "#0072B2", "#E69F00", "#009E73"
VERMILION, PURPLE, SKY, GRAY = "#D55E00", "#CC79A7", "#56B4E9", "#595959"
LIGHT_GRAY = "#BFBFBF"
#: Of each modality, in every figure.
OF_MODALITY = {"text": BLUE, "audio": ORANGE, "vision": GREEN}
#: Of the same on areas, where blue and green are one gray in print.
HATCHES = {"text": "", "audio": "", "vision": "////"}
#: Scores, the most negative red, the most positive blue, as on the page.
SCORES = "RdBu"
LINES = (BLACK, BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
#: Strokes and gaps of lines without markers, in widths of the line; none alike.
STROKES: tuple[Any, ...] = (
    (0, (9, 2)), (0, (1.2, 1.2)), (0, (7, 1.5, 1.2, 1.5)), (0, (2.5, 2.5)),
    (0, (7, 1.5, 1.2, 1.5, 1.2, 1.5)),
)  # fmt: skip
#: Inches that a page of the report has; more plots in a row are narrower.
PAGE = 9.4
#: By variant: what matplotlib's ``plot`` takes.
Looks = Mapping[str, Mapping[str, Any]]
#: Points; matplotlib's names for what they are of.
SIZES: Any = {
    "font.size": 9, "axes.labelsize": 9, "axes.titlesize": 9, "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}  # fmt: skip
#: What every legend is drawn with.
LEGEND: dict[str, Any] = {"fontsize": 8, "frameon": False}


def looks(variants: Sequence[str]) -> Looks:
    """Colour and marker of each, by its place among all of a benchmark: the same in every figure.

    There are 56 pairs; after those they are taken again.
    """
    return {
        variant: {"color": LINES[place % len(LINES)], "marker": MARKERS[place % len(MARKERS)]}
        for place, variant in enumerate(variants)
    }


def term_looks(terms: Sequence[str]) -> Looks:
    """Colour and stroke of each term of a loss, by its name: the same in the curves of every run.

    The total, ``loss``, is black and whole. Terms of other models have what SupArc's leave; after
    30 pairs they are taken again.

    Args:
        terms: columns of a history.
    """
    known = [f"loss_{term}" for term in LOSS_TERMS]
    others = [term for term in terms if term not in ("loss", *known)]
    colors = LINES[1:]
    found: dict[str, Mapping[str, Any]] = {
        term: {"color": colors[n % len(colors)], "ls": STROKES[n % len(STROKES)], "lw": 1.2}
        for n, term in enumerate([*known, *others])
    }
    return {"loss": {"color": BLACK, "ls": "-", "lw": 1.8}, **found}


def axes(
    count: int = 1, *, width: float = 4.2, height: float = 3.4, share_rows: bool = False
) -> tuple[Figure, list]:
    """A figure with a row of plots, drawn without a display.

    Args:
        width: of a plot, in inches; less where the row would be wider than a page.
        height: of the row, in inches.
        share_rows: one vertical axis for all, whose names stand at the first.
    """
    figure, plots = grid(1, count, width=width, height=height, sharey=share_rows)
    return figure, list(plots[0])


def write_numbers(plot: Any, values: np.ndarray, form: str, dark: np.ndarray) -> None:
    """Each value (R, C) into its cell of an image.

    Args:
        form: as ``.3f``.
        dark: (R, C), where the cell is.
    """
    for (row, column), value in np.ndenumerate(values):
        plot.text(
            column, row, f"{value:{form}}", ha="center", va="center", fontsize=8,
            color="white" if dark[row, column] else "black",
        )  # fmt: skip


def grid(
    rows: int, columns: int, *, width: float, height: float, **shared: Any
) -> tuple[Figure, np.ndarray]:
    """A figure with rows of plots (rows, columns), drawn without a display.

    Args:
        width: of a plot, in inches; less where a row would be wider than a page.
        height: of a row, in inches.
        shared: ``sharex`` and ``sharey``, as matplotlib's ``subplots`` takes them.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(SIZES):
        size = (min(width * columns, PAGE), height * rows)
        figure = Figure(figsize=size, layout="constrained")
        plots = figure.subplots(rows, columns, squeeze=False, **shared)
    for plot in plots.flat:
        plot.spines[["top", "right"]].set_visible(False)
    return figure, plots
