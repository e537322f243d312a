"""A section of a benchmark's report: words, tables, pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mmsa_suparc.bench.tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass
class Section:
    """What one analysis found; empty where the benchmark has nothing for it."""

    title: str
    text: str
    tables: list[Table] = field(default_factory=list)
    figures: dict[str, Figure] = field(default_factory=dict)  # by file name
    warnings: list[str] = field(default_factory=list)


def axes(count: int = 1, *, width: float = 4.2, height: float = 3.4) -> tuple[Figure, list]:
    """A figure with a row of plots, drawn without a display."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * count, height), layout="constrained")
    plots = [figure.add_subplot(1, count, place + 1) for place in range(count)]
    for plot in plots:
        plot.spines[["top", "right"]].set_visible(False)
    return figure, plots
