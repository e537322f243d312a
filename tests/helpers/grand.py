"""Benchmarks made by hand that have every figure and table of a report, at their worst: long names
of variants, more than a figure has room for, and few seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mmsa_suparc.analysis import ranks
from mmsa_suparc.analysis.report import ANALYSES
from mmsa_suparc.analysis.section import Section
from mmsa_suparc.bench.plan import Plan
from mmsa_suparc.bench.results import CellResult, Results
from mmsa_suparc.data.fold import Fold
from tests.helpers.cells import make_cell

#: More than any legend has a row for; some longer than a plot is wide.
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "SupArc": {"threshold": 0.5},
    **{
        f"sweep, threshold={t:g}, margin={m:g}, temperature=0.07":
        {"threshold": t, "margin": m, "temperature": 0.07}
        for t in (0.2, 1.0) for m in (0.1, 0.3)
    },
    "a variant whose name says in many words what it does without, and why": {"threshold": 0.5},
    "one_long_word_" * 5: {"threshold": 0.5, "temperature": 0.2},
    "lf_dnn": {},
    "ef_lstm": {},
}  # fmt: skip
#: In it no clip of another fold.
FOLDS = 5
CLIPS = 60
SUBSETS = ("t", "a", "v", "ta", "tv", "av", "tav")


def grand(
    root: Path, *, dataset: str = "mosi", folds: int | None = None, without: Sequence[str] = ()
) -> Results:
    """All of it.

    Args:
        folds: of a cross-validation.
        without: variants that were not probed.
    """
    cells = [
        _cell(root, dataset, variant, seed, fold, probed=variant not in without)
        for variant in VARIANTS
        for seed in (1, 2)
        for fold in ([Fold(n, folds) for n in range(1, folds + 1)] if folds else [None])
    ]
    pool = ("train", "valid", "test") if folds else ()
    plan = Plan("", tuple(one.cell for one in cells), "SupArc", ("missing",), folds, pool)
    return Results(plan, tuple(cells))


def sections(results: Results, dataset: str) -> list[Section]:
    """All that a report has of it."""
    found = [one(results, dataset) for one in ANALYSES]
    return [one for one in [*found, ranks.section(results)] if one is not None]


def _cell(
    root: Path, dataset: str, variant: str, seed: int, fold: Fold | None, *, probed: bool
) -> CellResult:
    place = list(VARIANTS).index(variant)
    chance = np.random.default_rng([place, seed, fold.number if fold else 0])
    number = fold.number if fold else 0
    labels = np.random.default_rng(number).integers(-15, 16, CLIPS) / 5
    if dataset == "sims":
        labels = np.round(labels / 3, 1)

    def off(size: float) -> np.ndarray:
        return labels * 0.8 + chance.normal(0, 0.3 + size + 0.05 * place, CLIPS)

    ids = [f"fold{number}-{n // 3}$_${n}" for n in range(CLIPS)]
    made = make_cell(
        root / f"fold{number}", variant[:60], off(0), labels, ids=ids, dataset=dataset, seed=seed,
        values=VARIANTS[variant], history=[{"epoch": 1, "train_seconds": 1.0}], parameters=place,
    )  # fmt: skip
    levels = {"P1": SUBSETS, "P2": ("0.0", "0.4", "0.7"), "P3": ("0.0", "0.5", "0.9")}
    for name, protocols in ("missing", levels), ("noise", {"noise": ("0.5", "1.0", "2.0")}):
        rows = [
            {"protocol": protocol, "level": level, "id": clip, "prediction": prediction}
            for protocol, of in (protocols if probed else {}).items()
            for n, level in enumerate(of)
            for clip, prediction in zip(ids, off(0.1 * n), strict=True)
        ]
        if rows:
            pd.DataFrame(rows).to_csv(made.folder.probe(name), index=False)
    if probed and "threshold" in VARIANTS[variant]:
        angles = np.outer(labels, np.ones(8)) + chance.normal(0, 0.2, (CLIPS, 8))
        np.savez(made.folder.fusion, ids=np.array(ids), vectors=np.tanh(angles))
        table = pd.DataFrame({"one": ["av", "tv"], "two": ["v", "t"], "share": [0.9, 0.8]})
        table.to_csv(made.folder.probe("geometry"), index=False)
    values = {**VARIANTS[variant], **(fold.values if fold else {})}
    return replace(made, cell=replace(made.cell, variant=variant, values=values))
