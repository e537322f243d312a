"""One look for all figures: sizes of letters, and what a colour and a marker mean.

Colours are those of Okabe and Ito (2008), which people with any common colour blindness tell
apart; a marker or a stroke beside each, so that they can be told apart in grey too.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, cycle
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
#: Inches of a line of small letters.
LINE = 0.15
#: What every legend is drawn with.
LEGEND: dict[str, Any] = {"fontsize": 8, "frameon": False}


def looks(variants: Sequence[str]) -> Looks:
    """Colour and marker of each, by its place among all of a benchmark: the same in every figure.

    Black and the circle are the first one's alone. There are 42 pairs of what is left; after those
    they are taken again.
    """
    pairs = chain([(LINES[0], MARKERS[0])], zip(cycle(LINES[1:]), cycle(MARKERS[1:])))  # no end
    return {
        variant: {"color": color, "marker": marker}
        for variant, (color, marker) in zip(variants, pairs, strict=False)
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


def wrapped(name: str, width: int = 32) -> str:
    """A name in lines of so many letters, three at most."""
    return textwrap.fill(name, width, max_lines=3, placeholder="…")


def lines_of(texts: Iterable[str]) -> int:
    """How many lines the longest has."""
    return max((text.count("\n") + 1 for text in texts), default=1)


def name_rows(plot: Any, names: Sequence[str]) -> None:
    """Names at the left of a plot with a row each, the first on top."""
    plot.set_yticks(range(len(names)), [wrapped(name) for name in names], fontsize=8)
    plot.set_ylim(len(names) - 0.5, -0.5)


def height_of_rows(names: Sequence[str], least: float) -> float:
    """Inches of so many rows, each as high as the longest name."""
    return len(names) * max(least, LINE * lines_of(map(wrapped, names)) + 0.05)


def legend_above(figure: Figure, plots: Sequence[Any]) -> None:
    """What the plots' lines are called, each name once, above all plots: in as many columns as have
    room. The figure grows by the legend's height."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    of_name: dict[str, Any] = {}
    for plot in plots:
        for handle, name in zip(*plot.get_legend_handles_labels(), strict=True):
            of_name.setdefault(name, handle)
    renderer = FigureCanvasAgg(figure).get_renderer()
    for columns in range(4, 0, -1):
        legend = figure.legend(
            list(of_name.values()), list(map(wrapped, of_name)), loc="outside upper center",
            ncols=columns, **LEGEND,
        )  # fmt: skip
        box = legend.get_window_extent(renderer)
        if box.width <= figure.bbox.width or columns == 1:
            break
        legend.remove()
    figure.set_figheight(figure.get_figheight() + max(0.0, box.height / figure.dpi - 2 * LINE))


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
    """Each value (R, C) into its cell of an image; nothing for NaN.

    Args:
        form: as ``.3f``.
        dark: (R, C), where the cell is.
    """
    for (row, column), value in np.ndenumerate(values):
        if math.isnan(value):
            continue
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
