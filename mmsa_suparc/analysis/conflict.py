"""Clips whose modalities contradict each other, and what each modality contributes."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mmsa_suparc.analysis.section import Section, axes
from mmsa_suparc.bench.results import Results, mae
from mmsa_suparc.bench.tables import Entry, Table, number, rank
from mmsa_suparc.names import MODALITIES

#: The subset that lacks a modality, by its first letter.
WITHOUT = {"text": "av", "audio": "tv", "vision": "ta"}


def section(results: Results, dataset: str) -> Section | None:
    """There where cells were probed for missing modalities."""
    probed = {
        variant: tables
        for variant in results.plan.variants
        if (tables := _by_subset(results, dataset, variant))
    }
    if not probed:
        return None
    labels = results.labels(dataset)
    judge = results.plan.reference if results.plan.reference in probed else next(iter(probed))
    alone = annotated(results, dataset)  # (3, N)
    source = "annotated scores of the modalities"
    if alone is None:
        alone = np.stack([probed[judge][m[0]] for m in MODALITIES])
        source = f"predictions from one modality alone (by '{judge}', the other two masked)"
    spread = alone.max(axis=0) - alone.min(axis=0)
    contradicts = spread >= np.quantile(spread, 0.75)
    table = Table(
        f"{dataset}-conflict", f"Contradicting clips and contributions on {dataset}",
        ["variant", "MAE, contradicting", "MAE, others", *(f"share of {m}" for m in MODALITIES)],
        notes=[
            f"Contradicting: the quarter of the clips whose {source} lie furthest apart. Share: "
            "mean absolute change of the prediction when the modality is masked, the three adding "
            "up to 1.",
        ],
    )  # fmt: skip
    figure, plots = axes(2)
    for place, (variant, subsets) in enumerate(probed.items()):
        whole = subsets["tav"]
        change = np.array([np.abs(whole - subsets[WITHOUT[m]]).mean() for m in MODALITIES])
        shares = change / change.sum() if change.sum() else change
        table.rows.append(
            [
                Entry(variant), number(mae(whole[contradicts], labels[contradicts])),
                number(mae(whole[~contradicts], labels[~contradicts])), *map(number, shares),
            ]
        )  # fmt: skip
        plots[0].barh(
            [place + offset for offset in (0.2, -0.2)],
            [table.rows[-1][1].number, table.rows[-1][2].number],
            height=0.38, color=["C3", "C0"],
        )  # fmt: skip
        left = np.concatenate([[0], np.cumsum(shares)[:-1]])
        for share, start, color in zip(shares, left, ("C0", "C1", "C2"), strict=True):
            plots[1].barh(place, share, left=start, height=0.6, color=color)
    names = list(probed)
    plots[0].set_yticks(range(len(names)), names, fontsize=8)
    plots[0].set_xlabel("test MAE: contradicting (red), others (blue)")
    plots[1].set_yticks(range(len(names)), [""] * len(names))
    plots[1].set_xlabel("contribution: text (blue), audio, vision (green)")
    rank(table, [1, 2], ["MAE", "MAE"])
    return Section(
        f"Contradiction and importance on {dataset}",
        "Where the modalities of a clip say different things, and how much of a prediction hangs "
        "on each. Taken from the predictions with modalities masked (P1).",
        [table],
        {f"{dataset}-conflict": figure},
    )


def annotated(results: Results, dataset: str) -> np.ndarray | None:
    """(3, N) scores of the test clips by modality, where the data set has them (CH-SIMS)."""
    table = results.clips(dataset)
    columns = [f"label_{name}" for name in MODALITIES]
    if table is None or not set(columns) <= set(table.columns):
        return None
    return table.loc[table["split"] == "test", columns].to_numpy().T


def _by_subset(results: Results, dataset: str, variant: str) -> dict[str, np.ndarray]:
    """Predictions (N,) by modalities kept, averaged over seeds."""
    tables = [
        table[table["protocol"] == "P1"]
        for result in results.of(dataset, variant)
        if (table := result.read("missing.csv")) is not None
    ]
    if not tables:
        return {}
    whole = pd.concat(tables)
    count = len(results.labels(dataset))
    return {
        str(level): part["prediction"].to_numpy().reshape(-1, count).mean(axis=0)
        for level, part in whole.groupby("level", sort=False)
    }
