"""How sensitive is SupArc to its threshold, margin and temperature?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from mmsa_suparc.analysis.chosen import unseen
from mmsa_suparc.analysis.section import Section
from mmsa_suparc.analysis.style import axes, write_numbers
from mmsa_suparc.bench.results import Results
from mmsa_suparc.bench.tables import Entry, Table, number
from mmsa_suparc.losses.pairs import TOLERANCE

#: Shares of positive pairs outside of which the contrast has little to say.
FEW, MANY = 0.02, 0.8


def section(results: Results, dataset: str) -> Section | None:
    """There where variants of one model differ in at least two thresholds."""
    points = _points(results, dataset)
    if points.empty or points["threshold"].nunique() < 2:
        return None
    measured = unseen(results)
    first, and_folds = ("", "") if results.plan.folds is None else (
        " of the first fold", " and the folds, each measured alone"
    )  # fmt: skip
    over = "mean over seeds" if results.plan.folds is None else "mean over seeds and folds"
    table = Table(
        f"{dataset}-thresholds", f"Positive pairs by threshold on {dataset}",
        ["threshold", "share of positive pairs", "validation MAE", f"{measured} MAE",
         f"{measured} Corr"],
        notes=[f"Share over all pairs of training clips{first}; metrics averaged over the other "
               f"values{and_folds}."],
    )  # fmt: skip
    found = Section(
        f"Threshold sensitivity on {dataset}",
        f"Validation MAE over threshold × margin, a map for each temperature ({over}).",
        [table],
    )
    shares = positive_shares(results, dataset, sorted(points["threshold"].unique()))
    for threshold, part in points.groupby("threshold"):
        share = shares.get(float(str(threshold)), np.nan)
        means = part[["valid_mae", "mae", "corr"]].mean()
        table.rows.append(
            [Entry(f"{threshold:g}", float(str(threshold))), number(share), *map(number, means)]
        )
        if not FEW <= share <= MANY:
            found.warnings.append(
                f"{dataset}: at threshold {threshold:g} {share:.1%} of the pairs are positive; "
                "the contrastive loss has little to tell apart"
            )
    temperatures = sorted(points["temperature"].unique())
    figure, plots = axes(len(temperatures), width=3.6)
    low, high = points["valid_mae"].min(), points["valid_mae"].max()
    for plot, temperature in zip(plots, temperatures, strict=True):
        grid = points[points["temperature"] == temperature].pivot_table(
            index="margin", columns="threshold", values="valid_mae"
        )
        image = plot.imshow(grid, cmap="viridis_r", vmin=low, vmax=high, aspect="auto")
        values = grid.to_numpy()
        write_numbers(plot, values, ".3f", values > (low + high) / 2)
        plot.set_xticks(range(len(grid.columns)), [f"{v:g}" for v in grid.columns])
        plot.set_yticks(range(len(grid.index)), [f"{v:g}" for v in grid.index])
        plot.set_title(f"temperature {temperature:g}", fontsize=9)
        plot.set_xlabel("threshold (score units)")
    plots[0].set_ylabel("margin (radians a score unit)")
    figure.colorbar(image, ax=plots[-1], label="validation MAE (score units)")
    found.draw(
        f"{dataset}-thresholds",
        figure,
        f"Validation MAE on {dataset}, {over}, by the threshold below which two scores "
        "are positives and by the margin, a grid a temperature; lower is better.",
    )
    return found


def _points(results: Results, dataset: str) -> pd.DataFrame:
    """A row a finished cell of a sweep: its values, those that the sweep leaves alone too, and
    its metrics."""
    rows = []
    for result in results.cells:
        cell = result.cell
        if cell.dataset != dataset or not result.record or "threshold" not in cell.values:
            continue
        values, metrics = result.values(), result.record["metrics"]
        rows.append(
            {
                **{name: values.get(name) for name in ("threshold", "margin", "temperature")},
                "valid_mae": metrics["valid"]["MAE"],
                "mae": metrics["test"]["MAE"],
                "corr": metrics["test"]["Corr"],
            }
        )
    # A model of somebody's own may have a threshold and neither of the others.
    return pd.DataFrame(rows).dropna(subset=["margin", "temperature"]) if rows else pd.DataFrame()


def positive_shares(results: Results, dataset: str, thresholds: list[float]) -> dict[float, float]:
    """The share of all pairs of training clips within each threshold."""
    table = results.clips(dataset)
    if table is None:
        return {}
    labels = np.sort(table.loc[table["split"] == "train", "label"].to_numpy())
    pairs = len(labels) * (len(labels) - 1) / 2
    within = {
        threshold: np.searchsorted(labels, labels + threshold + TOLERANCE, side="right")
        - np.arange(1, len(labels) + 1)
        for threshold in thresholds
    }
    return {t: float(counts.sum() / pairs) for t, counts in within.items() if pairs}
