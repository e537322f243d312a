"""A section of a benchmark's report: words, tables, pictures."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mmsa_suparc.analysis.clip_table import ClipTable
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
    captions: dict[str, str] = field(default_factory=dict)  # by the figures' names
    warnings: list[str] = field(default_factory=list)
    clips: ClipTable | None = None

    def draw(self, name: str, figure: Figure, caption: str) -> None:
        """Add a figure.

        Args:
            name: of its file.
            caption: what it shows, to be understood without the text around it.
        """
        self.figures[name], self.captions[name] = figure, caption

    @property
    def anchor(self) -> str:
        """Where a link finds it in the report."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")
