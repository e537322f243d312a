"""Tables of records that are made by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmsa_suparc.bench.folder import CellFolder
from mmsa_suparc.bench.plan import Cell, Plan
from mmsa_suparc.bench.results import CellResult, Results
from mmsa_suparc.bench.tables import compare, main_table, reported_table
from mmsa_suparc.metrics import mosi_metrics
from mmsa_suparc.runs.folder import RunFolder

LABELS = np.linspace(-3, 3, 40)


def results(root: Path, dataset: str, offsets: dict[str, float]) -> Results:
    """A cell a model: on the test split wrong by an offset, on validation by twice as much."""
    found = []
    for model, offset in offsets.items():
        folder = root / model
        (folder / "seed-1").mkdir(parents=True)
        lines = ["split,id,label,prediction"]
        for split, times in (("valid", 2), ("test", 1)):
            lines += [f"{split},{n},{y},{y + times * offset}" for n, y in enumerate(LABELS)]
        (folder / "seed-1" / "predictions.csv").write_text("\n".join(lines))
        metrics = {
            split: {**mosi_metrics(LABELS + times * offset, LABELS), "Loss": 0.0}
            for split, times in (("valid", 2), ("test", 1))
        }
        cell = Cell(model, model, dataset, 1, {})
        found.append(CellResult(cell, CellFolder(folder), {"metrics": metrics}, None))
    plan = Plan("", tuple(result.cell for result in found), "suparc", ())
    return Results(plan, tuple(found))


def test_figures_of_others_stand_apart_with_their_source(tmp_path: Path) -> None:
    table = reported_table(results(tmp_path, "mosi", {"suparc": 0.5, "self_mm": 0.7}), "mosi")
    assert table is not None
    rows = {(row[0].text, row[1].text): row for row in table.rows}
    column = table.head.index("MAE")
    assert rows["self_mm", "here"][column].number == pytest.approx(0.7)
    assert rows["self_mm", "elsewhere"][column].number == pytest.approx(0.7244)
    assert rows["suparc", "here"][column].number == pytest.approx(0.5)
    assert ("suparc", "elsewhere") not in rows  # nobody's figure for SupArc is known
    assert ("lf_dnn", "here") not in rows
    assert "github.com/thuiar/MMSA" in table.notes[0]
    assert reported_table(results(tmp_path / "demo", "demo", {"suparc": 0.5}), "demo") is None


def test_variants_are_compared_over_the_seeds_that_both_have(tmp_path: Path) -> None:
    """Seeds 1 and 2 of the one, 2 and 3 of the other: seed 2 alone is compared."""
    parts = [
        results(tmp_path / str(seed), "mosi", offsets)
        for seed, offsets in (
            (1, {"suparc": 0.1}), (2, {"suparc": 0.5, "self_mm": 0.75}), (3, {"self_mm": 9.0}),
        )
    ]  # fmt: skip
    found = []
    for seed, part in enumerate(parts, start=1):
        for one in part.cells:
            folder = RunFolder(one.folder.path)
            folder.seed(1).path.rename(folder.seed(seed).path)
            found.append(replace(one, cell=replace(one.cell, seed=seed)))
    plan = Plan("", tuple(one.cell for one in found), "suparc", ())
    difference, _ = compare(Results(plan, tuple(found)), "mosi")["self_mm"]
    assert difference.seeds == 1
    assert difference.value == pytest.approx(0.25)


def test_a_split_is_compared_with_itself(tmp_path: Path) -> None:
    found = results(tmp_path, "mosi", {"suparc": 0.5, "self_mm": 0.75})
    assert compare(found, "mosi")["self_mm"][0].value == pytest.approx(0.25)
    assert compare(found, "mosi", "valid")["self_mm"][0].value == pytest.approx(0.5)
    assert main_table(found, "mosi").rows[1][2].number == pytest.approx(0.75)
    assert main_table(found, "mosi", "valid").rows[1][2].number == pytest.approx(1.5)
