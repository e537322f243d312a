"""What it would take, from variances that are known and from trainings that are finished."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats

from mmsa_suparc.bench.power import detectable, groups_needed, power_table, seeds_needed
from mmsa_suparc.bench.statistics import Components
from mmsa_suparc.data.demo import Demo
from mmsa_suparc.errors import UserError
from tests.helpers.cells import make_cell, make_results

VARIANCES = Components(groups=0.02, seeds=0.002, both=0.05)


def test_with_much_of_everything_it_is_the_z_test() -> None:
    variance = 0.02 / 5000 + 0.002 / 400 + 0.05 / 5000 / 400
    expected = (stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) * math.sqrt(variance)
    assert detectable(VARIANCES, groups=5000, seeds=400) == pytest.approx(expected, rel=0.01)


def test_more_seeds_or_videos_show_smaller_differences() -> None:
    shown = [detectable(VARIANCES, groups=60, seeds=seeds) for seeds in (2, 3, 5, 10, 100)]
    assert shown == sorted(shown, reverse=True)
    shown = [detectable(VARIANCES, groups=groups, seeds=5) for groups in (2, 10, 60, 1000)]
    assert shown == sorted(shown, reverse=True)
    assert detectable(VARIANCES, groups=60, seeds=1) == math.inf
    assert detectable(Components(0, 0, 0), groups=2, seeds=2) == 0


def test_what_is_needed_is_just_enough() -> None:
    videos = groups_needed(VARIANCES, 0.05, seeds=10)
    assert videos is not None
    assert detectable(VARIANCES, groups=videos, seeds=10) <= 0.05
    assert detectable(VARIANCES, groups=videos - 1, seeds=10) > 0.05
    seeds = seeds_needed(VARIANCES, 0.06, groups=200)
    assert seeds is not None
    assert detectable(VARIANCES, groups=200, seeds=seeds) <= 0.06
    assert detectable(VARIANCES, groups=200, seeds=seeds - 1) > 0.06
    assert seeds_needed(VARIANCES, 0.02, groups=20) is None  # videos alone differ by more
    assert groups_needed(VARIANCES, 0.02, seeds=3) is None  # seeds alone do


def test_the_variances_are_those_of_the_finished_trainings(tmp_path: Path) -> None:
    """Videos and seeds differ by known amounts; their variances come back."""
    chance, count = np.random.default_rng(3), 400
    labels, at = np.full(count * 5, 10.0), np.repeat(np.arange(count), 5)
    ids = [f"video-{video}$_${clip}" for clip, video in enumerate(at)]
    cells = []
    for variant, spread in (("reference", 0.0), ("ours", 0.2)):
        of_video = spread * chance.normal(size=count)[at]
        for seed in range(1, 41):
            errors = 2 + of_video + 0.05 * chance.normal()
            cells.append(make_cell(tmp_path, variant, labels - errors, labels, ids=ids, seed=seed))
    (row,) = power_table(make_results(*cells), "mosi", 0.02).rows
    assert row[1].number == pytest.approx(
        detectable(Components(0.2**2, 2 * 0.05**2, 0), groups=count, seeds=40), rel=0.15
    )
    assert [entry.text for entry in row[3:5]] == ["more than 1,000,000"] * 2  # seeds alone do


def test_one_seed_is_too_little(tmp_path: Path) -> None:
    labels = np.linspace(-3, 3, 20)
    cells = [make_cell(tmp_path, name, labels + 0.1, labels) for name in ("reference", "ours")]
    with pytest.raises(UserError, match=r"found 1 comparison\(s\).*none with two seeds a side"):
        power_table(make_results(*cells), "mosi", 0.02)


BENCH = {"data_sets": ["demo"], "seeds": [1, 2], "variants": {"lf_dnn": {}, "ef_lstm": {}}}


def finish(cells: dict[str, str], root: Path) -> None:
    """As if the cells of a plan had been trained: their folders (by name) with records."""
    chance, labels = np.random.default_rng(0), np.linspace(-3, 3, 60)
    ids = [f"video-{clip // 5}$_${clip}" for clip in range(60)]
    for name, address in cells.items():
        variant, seed = name.split(" on demo, seed ")
        made = make_cell(root, variant, labels + chance.normal(size=60), labels, ids=ids,
                         dataset="demo", seed=int(seed))  # fmt: skip
        record = {"model": variant, "dataset": "demo", "seed": int(seed), **(made.record or {})}
        made.folder.append({**record, "weights": "", "identity": {}})
        pd.DataFrame({"split": "test", "id": ids, "label": labels}).to_csv(made.folder.labels)
        made.folder.path.rename(Path("out/cells") / address)


def test_the_command_trains_nothing(mmsa: Callable, demo: Demo, tmp_path: Path) -> None:
    Path("bench.yaml").write_text(yaml.safe_dump(BENCH))
    command = ("bench", "bench.yaml", "--out", "out")
    status, out, err = mmsa(*command, "--power", "0.02")
    assert (status, out) == (2, "")
    assert err.startswith("mmsa: --power: nothing is finished in out; ")
    assert err.count("\n") == 1
    assert not Path("out").exists()
    _, plan, _ = mmsa(*command, "--dry-run")
    Path("out/cells").mkdir(parents=True)
    found = re.findall(r"^(\S+)  (.*?)  \(", plan, re.MULTILINE)
    finish({name: address for address, name in found}, tmp_path)
    before = sorted(Path("out").rglob("*"))
    status, out, err = mmsa(*command, "--power", "0.02")
    assert (status, err) == (0, "")
    assert "What would show 0.02 of MAE on demo" in out
    assert re.search(r"lf_dnn +│ +\d+\.\d{4} │", out)
    assert sorted(Path("out").rglob("*")) == before
