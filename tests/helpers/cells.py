"""Cells of a benchmark that are made by hand: files of numbers that a test knows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from mmsa_suparc.bench.folder import CellFolder
from mmsa_suparc.bench.plan import Cell, Plan
from mmsa_suparc.bench.results import CellResult, Results
from mmsa_suparc.metrics import mosi_metrics, sims_metrics

#: What of a cell's model is in force.
VALUES = {"threshold": 0.5, "margin": 0.1, "temperature": 0.07}


def make_cell(
    root: Path,
    variant: str,
    predictions: np.ndarray,
    labels: np.ndarray,
    *,
    ids: Sequence[str] = (),
    dataset: str = "mosi",
    seed: int = 1,
    values: Mapping[str, Any] | None = None,
    order: np.ndarray | None = None,
    diagnostics: Mapping[str, Any] | None = None,
    history: Sequence[Mapping[str, float]] = (),
    parameters: int | None = None,
) -> CellResult:
    """A finished cell that predicted this, on validation as on test.

    Args:
        ids: of the clips; numbers by default.
        values: above the model's own, which are :data:`VALUES`.
        order: of the rows in every file.
        diagnostics: what its losses did.
        history: a row an epoch; none, as if an older version had trained it.
        parameters: how many it trained.
    """
    count = len(labels)
    ids = ids or [f"clip-{place}" for place in range(count)]
    rows = np.arange(count) if order is None else order
    folder = CellFolder(root / f"{variant}-{seed}")
    (folder.path / f"seed-{seed}").mkdir(parents=True)
    table = pd.DataFrame({"id": ids, "label": labels, "prediction": predictions}).iloc[rows]
    splits = pd.concat([table.assign(split=split) for split in ("valid", "test")])
    splits.to_csv(folder.path / f"seed-{seed}" / "predictions.csv", index=False)
    config = {**VALUES, **(values or {})}
    (folder.path / f"seed-{seed}" / "config.yaml").write_text(yaml.safe_dump(config))
    measure = sims_metrics if dataset == "sims" else mosi_metrics
    metrics = dict.fromkeys(("valid", "test"), measure(predictions, labels))
    measured = {**metrics, "diagnostics": diagnostics} if diagnostics else metrics
    (folder.path / f"seed-{seed}" / "metrics.json").write_text(json.dumps(measured, default=float))
    if history:
        pd.DataFrame(history).to_csv(folder.path / f"seed-{seed}" / "history.csv", index=False)
        others = pd.DataFrame({"split": ["train"] * 4 * count + ["valid"] * 2 * count})
        others = others.assign(id=[f"other-{n}" for n in range(len(others))], label=0.0)
        tested = pd.DataFrame({"split": "test", "id": ids, "label": labels})
        pd.concat([others, tested]).to_csv(folder.labels, index=False)
    cell = Cell(variant, "suparc", dataset, seed, dict(values or {}))
    told = {} if parameters is None else {"parameters": parameters}
    return CellResult(cell, folder, {"metrics": metrics, **told}, None)


def make_results(*cells: CellResult, reference: str = "") -> Results:
    """Of these cells; the first one's variant is the reference by default."""
    of = tuple(one.cell for one in cells)
    return Results(Plan("", of, reference or of[0].variant, ()), cells)
