"""Whether a legend lies on what a figure shows, and whether its texts can be read."""

from __future__ import annotations

from itertools import combinations
from typing import Any
from unittest import mock

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

#: Pixels by which letters may reach into the air around others.
AIR = 1.0
#: Inches, of a plot that can be read.
LEAST = 1.0


def covered(figure: Figure) -> list[str]:
    """A line for each point, line, area or image of any axes that reaches into a legend's box."""
    FigureCanvasAgg(figure).draw()
    legends = [*figure.legends, *(one for plot in figure.axes if (one := plot.get_legend()))]
    return [
        f"{legend.get_texts()[0].get_text()}…: {what}"
        for legend in legends
        for plot in figure.axes
        for what in _under(legend.get_window_extent(), plot)
    ]


def has_legend(figure: Figure) -> bool:
    """Whether it has one, or any of its axes."""
    return bool(figure.legends or any(plot.get_legend() for plot in figure.axes))


def cut(figure: Figure) -> list[str]:
    """Texts that reach beyond the figure's edge."""
    edge = figure.bbox.padded(AIR)
    return [
        words for words, box, _ in _texts(figure)
        if not (edge.contains(box.x0, box.y0) and edge.contains(box.x1, box.y1))
    ]  # fmt: skip


def squeezed(figure: Figure) -> list[str]:
    """Plots of which little is left, beside names that take all the room; colour bars are thin."""
    FigureCanvasAgg(figure).draw()
    sizes = {plot: plot.get_window_extent().size / figure.dpi for plot in figure.axes}
    return [
        f"{plot.get_title()}: {width:.1f} × {height:.1f} inches"
        for plot, (width, height) in sizes.items()
        if plot.get_label() != "<colorbar>" and min(width, height) < LEAST
    ]


def overlapping(figure: Figure) -> list[str]:
    """Pairs of texts that lie on each other; of slanted ones nothing is known."""
    upright = [
        (words, box.padded(-AIR)) for words, box, turned in _texts(figure) if not turned % 90
    ]
    return [
        f"{one} | {other}"
        for (one, box), (other, its) in combinations(upright, 2)
        if box.overlaps(its)
    ]


def _texts(figure: Figure) -> list[tuple[str, Bbox, float]]:
    """What is written, where, and how it is turned; only what is drawn, such as no hidden tick."""
    found, draw = [], Text.draw

    def drawn(text: Text, renderer: Any) -> None:
        if text.get_visible() and text.get_text().strip():
            box = text.get_window_extent(renderer)
            found.append((text.get_text(), box, text.get_rotation()))
        draw(text, renderer)

    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # the layout settles
    with mock.patch.object(Text, "draw", drawn):
        canvas.draw()
    return found


def _under(box: Bbox, plot: Axes) -> list[str]:
    found = []
    for line in plot.lines:
        path = line.get_path().transformed(line.get_transform())
        joined = line.get_linestyle() != "None" and path.intersects_bbox(box, filled=False)
        if joined or any(box.contains(x, y) for x, y in path.vertices):
            found.append("a line")
    for patch in plot.patches:
        if patch.get_path().transformed(patch.get_transform()).intersects_bbox(box, filled=True):
            found.append("a bar")
    for each in plot.collections:
        if isinstance(each, PathCollection):  # points
            places = each.get_offset_transform().transform(each.get_offsets())
            hit = any(box.contains(x, y) for x, y in places)
        else:  # areas
            paths = (path.transformed(each.get_transform()) for path in each.get_paths())
            hit = any(path.intersects_bbox(box, filled=True) for path in paths)
        if hit:
            found.append("points or an area")
    return found + ["an image" for one in plot.images if box.overlaps(one.get_window_extent())]
