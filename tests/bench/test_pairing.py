"""Clips are paired by their ids, whatever their place in a file; others are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmsa_suparc.analysis import calibration, conflict, geometry, intensity, missing
from mmsa_suparc.analysis.report import write_report
from mmsa_suparc.bench.comparisons import compare
from mmsa_suparc.bench.probes import subset_name
from mmsa_suparc.bench.results import CellResult, Results
from mmsa_suparc.bench.tables import Table, difference_table
from mmsa_suparc.data.missing import subset
from mmsa_suparc.errors import UserError
from tests.helpers.cells import make_cell, make_results

COUNT = 30
chance = np.random.default_rng(0)
LABELS = chance.uniform(-3, 3, COUNT).round(2)
PREDICTIONS = LABELS + chance.normal(size=COUNT)
VECTORS = chance.normal(size=(COUNT, 4)).astype(np.float32)
SUBSETS = {"t", "a", "v", "ta", "tv", "av", "tav"}
BY_SUBSET = {level: PREDICTIONS + chance.normal(size=COUNT) for level in sorted(SUBSETS)}
BY_MODALITY = chance.uniform(-3, 3, size=(3, COUNT))


def two_cells(root: Path, order: np.ndarray) -> Results:
    """Two variants that predicted the same; the second one's files have the rows in an order."""
    cells = []
    for variant, rows in (("ours", np.arange(COUNT)), ("theirs", order)):
        cell = make_cell(root, variant, PREDICTIONS, LABELS, order=rows)
        cells.append(cell)
        ids = pd.Series([f"clip-{place}" for place in range(COUNT)])
        parts = [
            pd.DataFrame({"protocol": "P1", "level": level, "id": ids, "prediction": values})
            for level, values in BY_SUBSET.items()
        ]
        table = pd.concat([part.iloc[rows] for part in parts])
        table.to_csv(cell.folder.probe("missing"), index=False)
        noise = parts[0].assign(protocol="noise", level="1.0").iloc[rows]
        noise.to_csv(cell.folder.probe("noise"), index=False)
        annotated = {
            f"label_{m}": BY_MODALITY[k] for k, m in enumerate(("text", "audio", "vision"))
        }
        labels = pd.DataFrame({"split": "test", "id": ids, "label": LABELS, **annotated})
        train = labels.assign(split="train", id=labels["id"] + "-train")
        pd.concat([train, labels.iloc[np.roll(rows, 1)]]).to_csv(cell.folder.labels, index=False)
        np.savez(cell.folder.fusion, ids=ids.to_numpy(dtype=str)[rows], vectors=VECTORS[rows])
    return make_results(*cells)


def numbers(table: Table) -> list[list[object]]:
    return [[entry.text for entry in row[1:]] for row in table.rows]


def test_rows_in_another_order_make_no_difference(tmp_path: Path) -> None:
    results = two_cells(tmp_path, chance.permutation(COUNT))
    found = compare(results, "mosi")["theirs"].means
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)
    assert difference_table(results, "mosi", "valid").rows[0][2].number == 0


@pytest.mark.parametrize(
    "section",
    [calibration.section, intensity.section, missing.section, geometry.section, conflict.section],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_every_section_joins_by_id(section: Callable, tmp_path: Path) -> None:
    """What a section says of two variants is the same, and what it says of them in order."""
    straight = section(two_cells(tmp_path / "straight", np.arange(COUNT)), "mosi")
    mixed = section(two_cells(tmp_path / "mixed", chance.permutation(COUNT)), "mosi")
    assert straight.tables
    for one, other in zip(straight.tables, mixed.tables, strict=True):
        assert numbers(one) == numbers(other)
        if len(one.rows) == 2 and one.rows[0][0].text == "ours":  # a row a variant
            assert numbers(one)[0] == numbers(one)[1]


def test_the_first_finished_cell_may_be_the_mixed_one(tmp_path: Path) -> None:
    results = two_cells(tmp_path, chance.permutation(COUNT))
    first, second = results.cells
    turned = make_results(second, first)
    assert compare(turned, "mosi")["ours"].means.value == 0
    assert (
        turned.predictions("mosi", "ours").tolist() == turned.predictions("mosi", "theirs").tolist()
    )


def other(root: Path, **changes: object) -> CellResult:
    options = {"predictions": PREDICTIONS, "labels": LABELS, **changes}
    return make_cell(root, "theirs", options.pop("predictions"), options.pop("labels"), **options)


IDS = [f"clip-{place}" for place in range(COUNT)]
REFUSED = {
    "another clip": ({"ids": [*IDS[:-1], "stranger"]}, "clip 'clip-29' is in"),
    "one more": (
        {"ids": [*IDS, "stranger"], "predictions": np.append(PREDICTIONS, 1.0),
         "labels": np.append(LABELS, 1.0)},
        "clip 'stranger' is in 'theirs on mosi, seed 1' (test) and not in 'ours on mosi, seed 1'",
    ),
    "another score": (
        {"labels": np.append(LABELS[:-1], LABELS[-1] + 0.01)}, "clip 'clip-29' has the score",
    ),
    "a clip twice": ({"ids": [*IDS[:-1], "clip-3"]}, "clip 'clip-3' is twice in 'theirs on mosi"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_match_is_refused(name: str, tmp_path: Path) -> None:
    changes, message = REFUSED[name]
    results = make_results(
        make_cell(tmp_path / "cells", "ours", PREDICTIONS, LABELS),
        other(tmp_path / "cells", **changes),
    )
    with pytest.raises(UserError) as caught:
        write_report(results, tmp_path / "out", environment={})
    found = str(caught.value)
    assert message in found
    assert "'ours on mosi, seed 1'" in found or name == "a clip twice"
    assert "'theirs on mosi, seed 1'" in found
    assert "\n" not in found
    assert caught.value.status == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("probe", ["missing", "noise", "geometry"])
def test_a_probe_of_other_clips_is_refused(probe: str, tmp_path: Path) -> None:
    results = two_cells(tmp_path, np.arange(COUNT))
    folder = results.cells[1].folder
    if probe == "geometry":
        np.savez(folder.fusion, ids=np.array(["stranger", *IDS[1:]]), vectors=VECTORS)
    else:
        table = pd.read_csv(folder.probe(probe))
        table.replace({"id": {"clip-0": "stranger"}}).to_csv(folder.probe(probe), index=False)
    section = geometry.section if probe == "geometry" else missing.section
    with pytest.raises(UserError, match=r"clip 'clip-0' is in .* and not in 'theirs on mosi"):
        section(results, "mosi")


def test_ids_are_text(tmp_path: Path) -> None:
    """'7' and '007' are two clips, and 'NA' is a name."""
    ids = ["7", "007", "NA", "", *IDS[4:]]
    cells = [
        make_cell(tmp_path, name, PREDICTIONS, LABELS, ids=ids, order=order)
        for name, order in (("ours", np.arange(COUNT)), ("theirs", np.arange(COUNT)[::-1]))
    ]
    assert compare(make_results(*cells), "mosi")["theirs"].means.value == 0


def test_the_subsets_are_those_of_the_probe() -> None:
    """The hand-made table has the names that the probe writes."""
    assert subset_name(subset(1, ("text", "vision"))[0]) in SUBSETS
