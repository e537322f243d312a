"""A section of a benchmark's report: words, tables, pictures."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mmsa_suparc.bench.results import Results
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


def few(
    results: Results, dataset: str, variants: Iterable[str], most: int
) -> tuple[list[str], str]:
    """The variants that a figure has room for: the reference, if it is among them, and those with
    the lowest MAE (mean over seeds), in the order that they came in.

    Returns:
        Them, and the end of the figure's caption that says so; empty where all have room.
    """
    names, reference = list(variants), results.plan.reference
    if len(names) <= most:
        return names, ""

    def key(variant: str) -> tuple[bool, float]:
        errors = results.values(dataset, variant, "MAE")  # none while folds are missing
        return variant != reference, float(np.mean(errors)) if errors else math.inf

    kept = sorted(names, key=key)[:most]
    best, others = most - (reference in kept), len(names) - (reference in kept)
    words = f" Shown: {reference}, and" if reference in kept else " Shown:"
    lowest = "the one" if best == 1 else f"the {best}"
    words += f" {lowest} of {others} {'others' if reference in kept else 'variants'} with the"
    return [name for name in names if name in kept], f"{words} lowest MAE."
