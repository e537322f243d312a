"""Tables of records that are made by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmsa_suparc.analysis import missing
from mmsa_suparc.bench.comparisons import ENSEMBLE, compare, compare_incomplete
from mmsa_suparc.bench.folder import CellFolder
from mmsa_suparc.bench.plan import Cell, Plan
from mmsa_suparc.bench.results import CellResult, Results
from mmsa_suparc.bench.tables import as_json, difference_table, main_table, reported_table
from mmsa_suparc.metrics import mosi_metrics
from tests.helpers.cells import make_cell, make_results

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


GROUPED = [f"video-{place // 4}$_${place}" for place in range(40)]
UNGROUPED = [f"clip-{place}" for place in range(40)]


def noisy(
    root: Path, spreads: dict[str, float], *, seeds: int = 3, ids: list[str] = GROUPED,
    dataset: str = "mosi",
) -> Results:  # fmt: skip
    """Variants whose errors have this standard deviation; the first is the reference."""
    chance = np.random.default_rng(0)
    return make_results(
        *(
            make_cell(root, name, LABELS + chance.normal(scale=spread, size=40), LABELS,
                      ids=ids, seed=seed, dataset=dataset)
            for name, spread in spreads.items()
            for seed in range(1, seeds + 1)
        )
    )  # fmt: skip


SPREADS = {"reference": 0.3, "far": 2.0, "near": 0.31}


def test_the_difference_is_that_of_the_means_in_the_table(tmp_path: Path) -> None:
    """Averaging the predictions first, as an ensemble does, gives another number."""
    found = noisy(tmp_path, SPREADS)
    table = main_table(found, "mosi")
    means = {row[0].text: row[table.head.index("MAE ↓")].number for row in table.rows}
    differences = {row[0].text: row for row in difference_table(found, "mosi").rows}
    for variant in ("far", "near"):
        expected = means[variant] - means["reference"]
        assert differences[variant][2].number == pytest.approx(expected, abs=2e-4)
    ensemble = differences[f"far, {ENSEMBLE}"]
    assert ensemble[1].text == "averaged"
    assert ensemble[2].number < 0.7 * differences["far"][2].number


def test_seeds_of_each_side_count_that_the_other_lacks(tmp_path: Path) -> None:
    cells = [
        make_cell(tmp_path, name, LABELS + offset, LABELS, seed=seed)
        for name, seed, offset in (
            ("suparc", 1, 0.1), ("suparc", 2, 0.5), ("self_mm", 2, 0.75), ("self_mm", 3, 0.85),
            ("self_mm", 4, 0.95),
        )
    ]  # fmt: skip
    found = compare(make_results(*cells), "mosi")["self_mm"].means
    assert (found.seeds, found.reference_seeds) == (3, 2)
    assert found.value == pytest.approx(0.85 - 0.3)


def test_marks_stand_on_the_test_split_alone(tmp_path: Path) -> None:
    found = noisy(tmp_path, SPREADS)
    on_test, on_validation = main_table(found, "mosi"), main_table(found, "mosi", "valid")
    marks = {row[0].text: [entry.mark for entry in row if entry.mark] for row in on_test.rows}
    assert marks["far"] == ["***"]
    assert marks["near"] == marks["reference"] == []
    assert not any(entry.mark for row in on_validation.rows for entry in row)
    assert "p" not in difference_table(found, "mosi", "valid").head
    assert "chose each training's epoch" in on_validation.notes[-1]


def test_notes_say_what_was_drawn(tmp_path: Path) -> None:
    grouped = " ".join(main_table(noisy(tmp_path / "a", SPREADS), "mosi").notes)
    assert "10 videos (or speakers), 40 clips" in grouped
    assert "Seeds a side: 3." in grouped
    assert "two-level bootstrap" in grouped
    assert "Holm over the table's 2 comparison(s)" in grouped
    alone = noisy(tmp_path / "b", SPREADS, seeds=1, ids=UNGROUPED)
    notes = " ".join(main_table(alone, "mosi").notes)
    assert "nothing is known of their videos" in notes
    assert "the variance between seeds is unknown" in notes
    assert not any(entry.mark for row in main_table(alone, "mosi").rows for entry in row)


def test_groups_of_the_clips_own_table_come_first(tmp_path: Path) -> None:
    found = noisy(tmp_path, SPREADS)
    assert found.groups("mosi").tolist() == [f"video-{place // 4}" for place in range(40)]
    speakers = [f"speaker {place % 5}" for place in range(40)]
    table = pd.DataFrame({"split": "test", "id": GROUPED, "label": LABELS, "group": speakers})
    first = found.cells[0]

    table.iloc[::-1].to_csv(first.folder.labels, index=False)
    found = replace(found, cells=(replace(first), *found.cells[1:]))
    assert found.groups("mosi").tolist() == speakers
    assert compare(found, "mosi")["far"].means.groups == 5

    table.assign(group="").to_csv(first.folder.labels, index=False)
    found = replace(found, cells=(replace(first), *found.cells[1:]))
    assert compare(found, "mosi")["far"].means.groups == 10


def test_the_summary_has_every_comparison(tmp_path: Path) -> None:
    found = noisy(tmp_path, SPREADS)
    rows = json.loads(json.dumps(as_json(found), allow_nan=False))["datasets"]["mosi"]["variants"]
    assert "difference" not in rows["reference"]
    for variant in ("far", "near"):
        said, known = rows[variant]["difference"], compare(found, "mosi")[variant]
        for key in ("value", "low", "high", "p", "seeds", "groups", "detectable"):
            assert said[key] == getattr(known.means, key)
            assert said["ensemble"][key] == getattr(known.ensemble, key)
        assert said["p_holm"] == known.p_holm


@pytest.mark.parametrize(
    ("protocol", "complete", "incomplete", "name"),
    [
        ("P1", "tav", ["t", "a", "v", "ta", "tv", "av"], "subsets"),
        ("P3", "0.0", ["0.5", "0.9"], "frames"),
        ("noise", "0.0", ["0.5", "1.0"], "noise"),
    ],
)
def test_incomplete_inputs_are_compared_too(
    protocol: str, complete: str, incomplete: list[str], name: str, tmp_path: Path
) -> None:
    found, chance = noisy(tmp_path, SPREADS), np.random.default_rng(1)
    levels = [complete, *incomplete]
    errors: dict[str, list[float]] = {}
    for one in found.cells:
        parts = []
        for level in chance.permutation(levels):
            predictions = LABELS + chance.normal(scale=SPREADS[one.cell.variant], size=40)
            if level != complete:
                errors.setdefault(one.cell.variant, []).append(np.abs(predictions - LABELS).mean())
            columns = {"protocol": protocol, "level": level, "id": GROUPED}
            parts.append(pd.DataFrame({**columns, "prediction": predictions}))
        probe = "noise" if protocol == "noise" else "missing"
        pd.concat(parts).to_csv(one.folder.probe(probe), index=False)
    far = compare_incomplete(found, "mosi", protocol)["far"].means
    expected = np.mean(errors["far"]) - np.mean(errors["reference"])
    assert far.value == pytest.approx(expected)
    assert (far.clips, far.groups, far.grouped) == (40, 10, True)
    if protocol == "P1":
        rows = as_json(found)["datasets"]["mosi"]["variants"]
        assert rows["far"]["incomplete_difference"]["value"] == far.value
    shown = missing.section(found, "mosi").tables
    (table,) = [table for table in shown if table.name == f"mosi-{name}-differences"]
    assert table.rows[0][2].number == far.value


def test_scores_of_sims_are_cut_as_its_metrics_cut_them(tmp_path: Path) -> None:
    found = noisy(tmp_path, {"one": 0.1, "two": 4.0}, dataset="sims")
    value = compare(found, "sims")["two"].means.value
    two, one = (np.mean(found.values("sims", name, "MAE")) for name in ("two", "one"))
    assert value == pytest.approx(two - one, abs=2e-4)


def test_a_split_is_compared_with_itself(tmp_path: Path) -> None:
    found = results(tmp_path, "mosi", {"suparc": 0.5, "self_mm": 0.75})
    assert compare(found, "mosi")["self_mm"].means.value == pytest.approx(0.25)
    assert compare(found, "mosi", "valid")["self_mm"].means.value == pytest.approx(0.5)
    assert main_table(found, "mosi").rows[1][2].number == pytest.approx(0.75)
    assert main_table(found, "mosi", "valid").rows[1][2].number == pytest.approx(1.5)
