"""Whether a legend lies on what a figure shows."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox


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
