"""A section of a benchmark's report: words, tables, pictures."""

from __future__ import annotations

import re
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

    @property
    def anchor(self) -> str:
        """Where a link finds it in the report."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


def axes(
    count: int = 1, *, width: float = 4.2, height: float = 3.4, share_rows: bool = False
) -> tuple[Figure, list]:
    """A figure with a row of plots, drawn without a display.

    Args:
        share_rows: one vertical axis for all, whose names stand at the first.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * count, height), layout="constrained")
    plots = list(figure.subplots(1, count, squeeze=False, sharey=share_rows)[0])
    for plot in plots:
        plot.spines[["top", "right"]].set_visible(False)
    return figure, plots
