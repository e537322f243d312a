"""What the sections of a report say of cells whose numbers are known."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from mmsa_suparc.analysis import conflict, geometry, intensity, missing, overview
from mmsa_suparc.analysis import threshold as threshold_study
from mmsa_suparc.analysis.chosen import few
from mmsa_suparc.analysis.headline import headline
from mmsa_suparc.bench.comparisons import BELOW_ZERO, compare
from mmsa_suparc.bench.tables import main_table
from mmsa_suparc.errors import UserError
from mmsa_suparc.losses.pairs import positive_pairs
from tests.helpers.cells import VALUES, make_cell, make_results

LABELS = np.linspace(-3, 3, 25)
OFFSETS = {"reference": 0.5, "worst": 0.9, "best": 0.1}


def of_offsets(root: Path) -> Any:
    """Three variants, each wrong by an offset for every clip; the first is the reference."""
    cells = [make_cell(root, name, LABELS + offset, LABELS) for name, offset in OFFSETS.items()]
    return make_results(*cells, reference="reference")


def in_column(table: Any, name: str) -> list[Any]:
    return [row[table.head.index(name)] for row in table.rows]


def row_of(plot: Any, place: float) -> float:
    """Where a row is on the page."""
    return float(plot.transData.transform((0, place))[1])


def test_an_interval_stands_beside_its_variant_s_name(tmp_path: Path) -> None:
    results = of_offsets(tmp_path)
    figure = overview.section(results, "mosi").figures["mosi-results"]
    figure.draw_without_rendering()
    left, right = figure.axes
    names = {
        label.get_text(): row_of(left, place)
        for label, place in zip(left.get_yticklabels(), left.get_yticks(), strict=True)
    }
    assert sorted(names, key=names.get, reverse=True) == list(OFFSETS)  # from the top
    dots = [line for line in right.lines if len(line.get_xdata()) == 1]
    shown = {round(row_of(right, dot.get_ydata()[0]), 3): dot.get_xdata()[0] for dot in dots}
    expected = {
        round(names[variant], 3): pytest.approx(one.means.value)
        for variant, one in compare(results, "mosi").items()
    }
    assert shown == expected
    assert not any(one.get_visible() and one.get_text() for one in right.get_yticklabels())


def test_rows_of_the_contradiction_picture_are_shared_too() -> None:
    figure = conflict.bars(
        {"one": (1.0, 0.5), "two": (2.0, 0.1), "three": (0.1, 0.2)},
        dict.fromkeys(("one", "two", "three"), (0.5, 0.3, 0.2)),
    )
    figure.draw_without_rendering()
    left, right = figure.axes
    for place in range(3):
        pair = left.patches[2 * place : 2 * place + 2]
        middle = np.mean([bar.get_y() + bar.get_height() / 2 for bar in pair])
        shares = right.patches[3 * place]
        beside = shares.get_y() + shares.get_height() / 2
        assert row_of(left, middle) == pytest.approx(row_of(right, beside))
        assert row_of(left, left.get_yticks()[place]) == pytest.approx(row_of(left, middle))


def test_below_zero_is_better_everywhere(tmp_path: Path) -> None:
    results = of_offsets(tmp_path)
    differences = {name: one.means.value for name, one in compare(results, "mosi").items()}
    assert differences == {"worst": pytest.approx(0.4), "best": pytest.approx(-0.4)}
    whole = overview.section(results, "mosi")
    assert BELOW_ZERO in whole.figures["mosi-results"].axes[1].get_xlabel()
    tables = [table for table in whole.tables if "less that" in table.title]
    assert len(tables) == 2
    assert all(BELOW_ZERO in table.notes[0].lower() for table in tables)
    by_bin = intensity.section(results, "mosi")
    figure = by_bin.figures["mosi-intensity"]
    assert BELOW_ZERO in by_bin.text.lower()
    assert BELOW_ZERO in figure.axes[0].get_ylabel()
    for plot in figure.axes:
        (curve,) = [line for line in plot.lines if line.get_marker() != "None"]
        variant = plot.get_title().removesuffix(" less reference")
        assert curve.get_ydata() == pytest.approx(differences[variant])


def test_few_variants_are_the_reference_and_the_best_and_the_caption_says_so(
    tmp_path: Path,
) -> None:
    offsets = {"a": 0.9, "b": 0.2, "reference": 0.5, "c": 0.3, "d": 0.1}
    cells = [make_cell(tmp_path, name, LABELS + one, LABELS) for name, one in offsets.items()]
    results = make_results(*cells, reference="reference")
    section = intensity.section(results, "mosi")
    titles = [plot.get_title() for plot in section.figures["mosi-intensity"].axes]
    assert titles == [f"{name} less reference" for name in "bcd"]
    assert section.captions["mosi-intensity"].endswith(
        " Shown: the 3 of 4 variants with the lowest MAE."
    )
    assert few(results, "mosi", offsets, 2) == (
        ["reference", "d"], " Shown: reference, and the one of 4 others with the lowest MAE."
    )  # fmt: skip
    assert few(results, "mosi", ["b", "a"], 2) == (["b", "a"], "")


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        ([], "nothing is known of the clips' videos"),
        ([f"video-{n // 5}$_${n}" for n in range(25)], "5; only differences above 0.000 could"),
        ([f"video$_${n}" for n in range(25)], "1; no difference could have been shown"),
    ],
)
def test_few_videos_are_warned_of(ids: list[str], words: str, tmp_path: Path) -> None:
    cells = [make_cell(tmp_path, n, LABELS + o, LABELS, ids=ids) for n, o in OFFSETS.items()]
    warnings = overview.section(make_results(*cells), "mosi").warnings
    assert any(words in warning for warning in warnings)


def test_accuracy_by_bin_is_that_of_the_metrics(tmp_path: Path) -> None:
    """Predictions beyond the scale are right where the label is at its end."""
    labels = np.array([3.0, 3.0, -3.0, -3.0, 0.0, 0.0])
    beyond = np.array([3.6, 2.4, -4.0, -3.5, 0.4, 0.6])
    cells = [make_cell(tmp_path, name, beyond, labels) for name in ("one", "two")]
    (table,) = intensity.section(make_results(*cells), "mosi").tables
    assert [entry.number for entry in in_column(table, "one: Acc-7")] == [1.0, 0.5, 0.5]


def test_sims_has_no_seven_classes(tmp_path: Path) -> None:
    labels = np.array([-1.0, -0.6, 0.0, 0.2, 0.8, 1.0])
    near = np.array([-0.8, -0.2, 0.05, 0.9, 0.75, 1.4])
    cells = [make_cell(tmp_path, n, near, labels, dataset="sims") for n in ("one", "two")]
    (table,) = intensity.section(make_results(*cells), "sims").tables
    assert not any("Acc-7" in head for head in table.head)
    assert [entry.text for entry in in_column(table, "bin")] == ["-1", "-0.5", "0", "+1"]
    found = [entry.number for entry in in_column(table, "one: Acc-5")]
    assert found == [1.0, 1.0, 0.5, 1.0]


@pytest.mark.parametrize(
    "swept", [{}, {"margin": 0.3}, {"temperature": 0.2}, {"margin": 0.3, "temperature": 0.2}]
)
def test_a_sweep_shows_the_model_s_own_values(swept: dict, tmp_path: Path) -> None:
    cells = [
        make_cell(tmp_path, f"T={value}", LABELS, LABELS, values={"threshold": value, **swept})
        for value in (0.2, 1.0)
    ]
    figure = threshold_study.section(make_results(*cells), "mosi").figures["mosi-thresholds"]
    (plot, *_) = figure.axes
    wanted = {**VALUES, **swept}
    assert [label.get_text() for label in plot.get_yticklabels()] == [f"{wanted['margin']:g}"]
    assert plot.get_title() == f"temperature {wanted['temperature']:g}"
    assert [label.get_text() for label in plot.get_xticklabels()] == ["0.2", "1"]


def test_alignment_counts_the_pairs_that_training_counted(tmp_path: Path) -> None:
    """Scores 0.2 apart are positives of a threshold of 0.2, which float numbers would deny."""
    labels = np.array([0.4, 0.6, 2.0])
    angles = np.array([0.0, np.pi / 3, np.pi])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    cells = []
    for value in (0.2, 0.1, 3.0):
        values = {"threshold": value}
        cell = make_cell(tmp_path, f"T={value}", labels, labels, values=values)
        ids = np.array([f"clip-{place}" for place in range(3)])
        np.savez(cell.folder.fusion, ids=ids, vectors=vectors)
        cells.append(cell)
    (table,) = geometry.section(make_results(*cells), "mosi").tables
    # |z_i − z_j|² = 2 − 2 cos of the angle: 1 (60°), 4 (180°), 3 (120°).
    assert in_column(table, "alignment")[0].number == pytest.approx(1.0)
    assert in_column(table, "alignment")[1].text == "n/a"
    assert in_column(table, "alignment")[2].number == pytest.approx((1 + 4 + 3) / 3)
    assert [entry.text for entry in in_column(table, "threshold")] == ["0.2", "0.1", "3"]


@pytest.mark.parametrize("threshold", [0.2, 0.4, 1.0])
def test_the_threshold_study_counts_the_pairs_that_the_loss_takes(threshold: float) -> None:
    labels = np.random.default_rng(0).integers(-15, 16, 60) / 5
    table = pd.DataFrame({"split": "train", "label": labels})
    found = threshold_study.positive_shares(
        SimpleNamespace(clips=lambda dataset: table), "mosi", [threshold]
    )
    scores = torch.tensor(labels, dtype=torch.float32)
    positives = positive_pairs(scores, sampling="threshold", threshold=threshold)
    pairs = len(labels) * (len(labels) - 1)
    assert found[threshold] == pytest.approx((int(positives.sum()) - len(labels)) / pairs)


def test_what_the_losses_did_is_a_table_of_means_and_each_warning_stands_once(
    tmp_path: Path,
) -> None:
    def told(suparc: float, margin: float) -> dict[str, Any]:
        return {
            "clips": 25, "batch": 16,
            "pairs": {"positives": 0.2, "negatives": 0.8, "margin_mean": margin,
                      "margin_largest": 2 * margin, "saturated": None},
            "norms": {"mae": 2.0, "suparc": suparc}, "cosines": {"mae, suparc": 0.5},
            "warnings": [f"the margin does nothing: {margin:.3f} rad"],
        }  # fmt: skip

    cells = [
        make_cell(tmp_path, "SupArc", LABELS, LABELS, seed=seed, diagnostics=told(suparc, margin))
        for seed, suparc, margin in ((1, 1.0, 0.02), (2, 3.0, 0.04))
    ]
    without = {**told(1.0, 0.02), "norms": {"mae": 2.0}, "cosines": {}, "warnings": []}
    cells.append(make_cell(tmp_path, "MAE only", LABELS, LABELS, diagnostics=without))
    cells.append(make_cell(tmp_path, "older", LABELS, LABELS))
    section = geometry.section(make_results(*cells), "mosi")
    (table,) = section.tables
    assert [entry.text for entry in in_column(table, "variant")] == ["SupArc", "MAE only"]
    assert {entry.text for entry in table.rows[1][1:]} == {"n/a"}
    assert in_column(table, "gradient of suparc")[0].number == pytest.approx(1.0)
    assert in_column(table, "cosine of suparc")[0].number == pytest.approx(0.5)
    assert in_column(table, "margin (mean)")[0].number == pytest.approx(0.03)
    assert in_column(table, "saturated")[0].text == "n/a"
    assert section.warnings == ["mosi, SupArc: the margin does nothing: 0.020 rad (2 of 2 seeds)"]


def test_diagnostics_that_are_none_are_refused_in_a_line(tmp_path: Path) -> None:
    cell = make_cell(tmp_path, "SupArc", LABELS, LABELS, diagnostics={"norms": [1]})
    with pytest.raises(UserError, match=r"metrics.json: diagnostics: clips: .*; train again"):
        geometry.section(make_results(cell), "mosi")


def test_a_model_that_lives_by_its_words_is_warned_of_and_stands_in_the_answer(
    tmp_path: Path,
) -> None:
    offsets = {"tav": 0.1, "ta": 0.1, "tv": 0.12, "t": 0.2, "av": 0.3, "a": 0.4, "v": 0.4}
    cells = []
    for place, weight in enumerate((1.0, 0.0)):
        values = {"weight_masked": weight, "mask_rate": 0.0}
        cell = make_cell(tmp_path, f"weight {weight}", LABELS, LABELS, values=values)
        ids = [f"clip-{number}" for number in range(len(LABELS))]
        parts = [
            pd.DataFrame(
                {
                    "protocol": "P1",
                    "level": level,
                    "id": ids,
                    "prediction": LABELS + offset * (1 + place),
                }
            )
            for level, offset in offsets.items()
        ]
        pd.concat(parts).to_csv(cell.folder.probe("missing"), index=False)
        cells.append(cell)
    results = make_results(*cells)
    assert missing.section(results, "mosi").warnings == [
        "mosi, weight 1.0: without text its MAE is 200% larger",
        "mosi, weight 0.0: without text its MAE is 200% larger; weight_masked trains for that",
    ]
    complete, incomplete = headline(results, "mosi", main_table(results, "mosi")).answers
    assert complete.startswith("weight 1.0's MAE is the same as weight 0.0's")
    # The offsets' mean without that of complete inputs: 0.253.
    assert incomplete.startswith(
        "With modalities missing (mean of the six incomplete inputs): weight 1.0's MAE is 0.253 "
        "lower than weight 0.0's ("
    )
    for probe in (
        cell.folder.probe("missing") for cell in cells
    ):  # an older one, without pairs of modalities
        table = pd.read_csv(probe)
        table[table["level"].str.len() != 2].to_csv(probe, index=False)
    assert missing.section(results, "mosi").warnings == []
