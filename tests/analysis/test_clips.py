"""Calibration, confusion and the table of clips, of cells whose numbers are known."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from mmsa_suparc.analysis import calibration, clips, confusion
from mmsa_suparc.analysis.report import write_report
from mmsa_suparc.bench.results import Results
from tests.helpers.cells import make_cell, make_results
from tests.helpers.chromium import told_by

chance = np.random.default_rng(0)
COUNT = 400
LABELS = np.round(chance.uniform(-3, 3, COUNT), 1)
IDS = [f"video-{place // 10}$_${place}" for place in range(COUNT)]
GROUPS = np.array([name.partition("$")[0] for name in IDS])
BY_SEED = {
    (variant, seed): np.round(0.6 * LABELS + noise * chance.normal(size=COUNT), 4)
    for variant, noise in (("ours", 0.5), ("theirs", 1.5))
    for seed in (1, 2)
}
HOSTILE = '</script><script>document.title = "broken"</script> "good" & <b>bad</b>'


def two_variants(root: Path, words: bool = True) -> Results:
    cells = [
        make_cell(root, variant, predictions, LABELS, ids=IDS, seed=seed)
        for (variant, seed), predictions in BY_SEED.items()
    ]
    if words:
        said = {name: f"take {place}\n of \x00many" for place, name in enumerate(IDS)}
        cells[0].folder.keep_words({**said, IDS[7]: HOSTILE})
    return make_results(*cells)


def both(variant: str) -> pd.DataFrame:
    """A row a clip and seed."""
    return pd.concat(
        [
            pd.DataFrame({"y": LABELS, "p": BY_SEED[variant, seed], "group": GROUPS})
            for seed in (1, 2)
        ]
    )


def test_the_calibration_curve_is_that_of_pandas(tmp_path: Path) -> None:
    section = calibration.section(two_variants(tmp_path), "mosi")
    above, below = (section.figures["mosi-calibration"].axes[k] for k in (0, 2))
    frame = both("ours")
    by_prediction = frame.groupby(frame["p"].round().clip(-3, 3))
    by_score = frame.assign(error=frame["p"] - frame["y"]).groupby(frame["y"].round())
    assert above.lines[0].get_xdata() == pytest.approx(by_prediction["p"].mean())
    assert above.lines[0].get_ydata() == pytest.approx(by_prediction["y"].mean())
    assert below.lines[0].get_xdata() == pytest.approx(by_score["y"].mean())
    assert below.lines[0].get_ydata() == pytest.approx(by_score["error"].mean())


def test_its_intervals_are_those_of_means_over_videos() -> None:
    """Beside the linearised standard error of a ratio, which needs no draws."""
    seeds = np.stack([BY_SEED["ours", seed] for seed in (1, 2)])
    frame = both("ours")
    frame["error"], frame["bin"] = frame["p"] - frame["y"], frame["y"].round()
    points = calibration.errors(seeds, LABELS, GROUPS)
    for point, (_, part) in zip(points, frame.groupby("bin"), strict=True):
        apart = (part["error"] - part["error"].mean()).groupby(part["group"]).sum()
        count = len(apart)
        expected = np.sqrt(count / (count - 1) * (apart**2).sum()) / len(part)
        found = (point.high - point.low) / 2 / calibration.stats.t.ppf(0.975, count - 1)
        assert found == pytest.approx(expected, rel=0.15)
        assert point.band == pytest.approx(tuple(part["error"].quantile([0.1, 0.9])))


def test_a_bin_of_few_videos_has_no_interval() -> None:
    groups = np.repeat(["a", "b", "c", "d"], COUNT // 4)
    (point, *_) = calibration.errors(BY_SEED["ours", 1][None], LABELS, groups)
    assert np.isfinite(point.mean)
    assert np.isnan([point.low, point.high]).all()


def test_slope_spread_and_bias_are_those_of_a_regression(tmp_path: Path) -> None:
    (table,) = calibration.section(two_variants(tmp_path), "mosi").tables
    for row in table.rows:
        seeds = [BY_SEED[row[0].text, seed] for seed in (1, 2)]
        slopes = [LinearRegression().fit(one[:, None], LABELS).coef_[0] for one in seeds]
        assert row[1].number == pytest.approx(np.mean(slopes))
        assert row[2].number == pytest.approx(np.mean([one.std() for one in seeds]) / LABELS.std())
        assert row[3].number == pytest.approx(np.mean(seeds) - LABELS.mean())
    constant = calibration.line(np.ones(3), np.arange(3.0))
    assert np.isnan(constant[0])
    assert constant[1:] == (0, 0)


@pytest.mark.parametrize("dataset", ["mosi", "sims"])
def test_confusion_is_that_of_a_cross_table(dataset: str, tmp_path: Path) -> None:
    scale = 3 if dataset == "sims" else 1
    seeds = [BY_SEED["theirs", seed] / scale for seed in (1, 2)]
    labels = np.round(LABELS / scale, 2)
    cells = [
        make_cell(tmp_path, "theirs", one, labels, dataset=dataset, seed=seed)
        for seed, one in enumerate(seeds)
    ]
    section = confusion.section(make_results(*cells), dataset)
    (plot,) = section.figures[f"{dataset}-confusion"].axes
    if dataset == "sims":
        cuts = np.float32([-0.7, -0.1, 0.1, 0.7])
        classes = [np.searchsorted(cuts, np.float32(values)) for values in (labels, *seeds)]
    else:
        classes = [np.round(np.clip(values, -3, 3)).astype(int) + 3 for values in (labels, *seeds)]
    size = 5 if dataset == "sims" else 7
    counts = np.zeros((size, size))
    for one in classes[1:]:
        np.add.at(counts, (classes[0], one), 0.5)
    assert [text.get_text() for text in plot.texts] == [f"{n:.0f}" for n in counts.flat]
    assert np.asarray(plot.images[0].get_array()) == pytest.approx(
        counts / counts.sum(1, keepdims=True)
    )
    exact = np.trace(counts) / counts.sum()
    assert f"{exact:.0%} exact" in plot.get_title()


def test_a_row_a_clip_the_worst_first(tmp_path: Path) -> None:
    table = clips.section(two_variants(tmp_path), "mosi").clips
    found = pd.read_csv(io.StringIO(table.csv)).set_index("id")
    ours, theirs = (
        np.stack([BY_SEED[variant, seed] for seed in (1, 2)]) for variant in ("ours", "theirs")
    )
    assert found.loc[IDS, "score"].to_numpy() == pytest.approx(LABELS)
    assert found["theirs: prediction"].to_numpy() == pytest.approx(theirs.mean(0), abs=1e-6)
    errors = np.abs(ours - LABELS).mean(0)
    assert found["ours: error"].to_numpy() == pytest.approx(errors, abs=1e-6)
    assert found["disagreement"].to_numpy() == pytest.approx(
        np.abs(ours.mean(0) - theirs.mean(0)), abs=1e-6
    )
    assert found["words"].iloc[0] == "take 0 of many"
    assert table.worst[0][0] == IDS[int(errors.argmax())]
    assert len(table.worst) == 20


def test_without_words_the_column_is_left_out_and_said_so(tmp_path: Path) -> None:
    table = clips.section(two_variants(tmp_path, words=False), "mosi").clips
    assert "words" not in table.frame
    assert any(note.startswith("No words") for note in table.notes)


def test_of_many_variants_the_reference_and_the_best_are_shown(tmp_path: Path) -> None:
    offsets = {"worst": 0.9, "c": 0.3, "a": 0.1, "d": 0.4, "b": 0.2}
    cells = [make_cell(tmp_path, n, LABELS + off, LABELS) for n, off in offsets.items()]
    results = make_results(*cells, reference="worst")
    for section in (calibration.section, confusion.section):
        (caption,) = section(results, "mosi").captions.values()
        assert "Shown: worst, and the 3 of 4 others with the lowest MAE." in caption
    table = clips.section(results, "mosi").clips
    assert "d: error" in table.frame
    assert "d: error" not in table.shown


def test_the_page_finds_and_sorts_clips_and_shows_a_stranger_s_text_as_text(
    tmp_path: Path,
) -> None:
    results = two_variants(tmp_path / "cells")
    page = write_report(
        results, tmp_path / "out", environment={"platform": "here", "command": "mmsa bench"}
    )
    script = """
    const box = document.querySelector(".clips"), field = box.querySelector("input");
    const body = box.querySelector("tbody"), status = () => box.querySelector("[role=status]");
    const drawn = body.rows.length, said = status().textContent;
    box.querySelector(".find button").click();
    const more = body.rows.length;
    const heads = [...box.querySelectorAll("th")];
    const head = heads.find(one => one.textContent === "score");
    const column = place => [...body.rows].map(row => Number(row.cells[place].textContent));
    head.querySelector("button").click();
    const down = column(2), way = [head.getAttribute("aria-sort")];
    head.querySelector("button").click();
    way.push(head.getAttribute("aria-sort"));
    const up = column(2), sorted = heads.filter(one => one.hasAttribute("aria-sort")).length;
    field.value = "GOOD";
    field.dispatchEvent(new Event("input"));
    document.title = JSON.stringify({ drawn, said, more, down, up, way, sorted,
      before: document.title, rows: body.rows.length, words: body.rows[0].cells[1].textContent,
      inside: body.querySelectorAll("script, b").length, found: status().textContent });
    document.body.textContent = "";
    """
    found = told_by(page, script, tmp_path)
    assert (found["drawn"], found["said"]) == (200, "400 of 400 clips, the first 200 shown")
    assert found["more"] == 400
    assert found["down"] == sorted(found["down"], reverse=True)
    assert found["up"] == sorted(found["up"])
    assert (found["way"], found["sorted"]) == (["descending", "ascending"], 1)
    assert (found["rows"], found["found"]) == (1, "1 of 400 clips")
    assert found["words"] == HOSTILE
    assert (found["inside"], found["before"]) == (0, "Benchmark")
