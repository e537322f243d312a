"""Which class of sentiment is taken for which?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import confusion_matrix

from mmsa_suparc.analysis.chosen import few, finished
from mmsa_suparc.analysis.section import Section
from mmsa_suparc.analysis.style import LINE, grid, lines_of, wrapped, write_numbers
from mmsa_suparc.bench.results import Results
from mmsa_suparc.metrics import SIMS_CUTS, classes, sims_metrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def section(results: Results, dataset: str) -> Section | None:
    """There where a variant is done."""
    shown, which = few(results, dataset, finished(results, dataset))
    if not shown:
        return None
    of_sims = results.measure(dataset) is sims_metrics
    names = intervals(SIMS_CUTS[5]) if of_sims else [signed(k) for k in range(-3, 4)]
    labels = results.labels(dataset)

    def classed(values: np.ndarray) -> np.ndarray:
        return classes(values, len(names), "sims" if of_sims else "mosi")

    matrices = {
        v: np.mean(
            [
                confusion_matrix(classed(labels), classed(one), labels=range(len(names)))
                for one in results.predictions(dataset, v)
            ],
            axis=0,
        )
        for v in shown
    }
    kind = "intervals of the score" if of_sims else "rounded scores"
    found = Section(
        f"Confusion on {dataset}",
        f"Which of {len(names)} classes ({kind}, as the metric Mult_acc_{len(names)} has them) is "
        "taken for which. Scores are ordered: to be one class off is a small mistake.",
    )
    found.draw(
        f"{dataset}-confusion",
        maps(matrices, names),
        f"Confusion of {len(names)} classes on {dataset} ({kind}), a matrix a variant: a row a "
        "true class with its clips in brackets, a column a predicted one. Numbers are clips, mean "
        "over seeds, rounded; the darker a cell, the larger its share of the row. Above: the share "
        "of clips in their own class, and in that or a neighbouring one."
        f"{which}",
    )  # fmt: skip
    return found


def intervals(cuts: Sequence[float]) -> list[str]:
    """Names of the classes between these cuts."""
    ends = [signed(cut) for cut in cuts]
    return [f"≤ {ends[0]}", *(f"{a} to {b}" for a, b in pairwise(ends)), f"> {ends[-1]}"]


def signed(value: float) -> str:
    """With a minus as long as a plus; 0 alone has no sign."""
    return f"{value:+g}".replace("-", "−") if value else "0"


def shares(matrix: np.ndarray) -> tuple[float, float]:
    """Of all clips, those on the diagonal of a matrix (K, K), and those at most one beside it."""
    total = matrix.sum()
    off = np.abs(np.subtract.outer(np.arange(len(matrix)), np.arange(len(matrix))))
    return float(matrix[off == 0].sum() / total), float(matrix[off <= 1].sum() / total)


def maps(matrices: Mapping[str, np.ndarray], names: Sequence[str]) -> Figure:
    """A matrix (K, K) of clips a variant, shaded by the share of its row."""
    titles = {variant: wrapped(variant, 24) for variant in matrices}
    height = 3.1 + LINE * (lines_of(titles.values()) - 1)
    figure, plots = grid(1, len(matrices), width=3.1, height=height, sharey=True)
    for plot, (variant, matrix) in zip(plots[0], matrices.items(), strict=True):
        of_row = matrix.sum(axis=1, keepdims=True)
        shaded = np.divide(matrix, of_row, out=np.zeros_like(matrix), where=of_row > 0)
        plot.imshow(shaded, cmap="Blues", vmin=0, vmax=1)
        write_numbers(plot, matrix, ".0f", shaded > 0.65)
        own, near = shares(matrix)
        plot.set_title(f"{titles[variant]}\n{own:.0%} exact, {near:.0%} within one", fontsize=9)
        turned = {} if max(map(len, names)) < 3 else {"rotation": 45, "ha": "right"}
        plot.set_xticks(range(len(names)), names, **turned)
        plot.set_xlabel("predicted class")
    rows = next(iter(matrices.values())).sum(axis=1)
    plots[0, 0].set_yticks(
        range(len(names)), [f"{n} ({c:.0f})" for n, c in zip(names, rows, strict=True)]
    )
    plots[0, 0].set_ylabel("true class (clips)")
    return figure
