"""A benchmark by cross-validation: each clip once a seed, nothing finished done again."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from mmsa_suparc.bench import plan
from mmsa_suparc.data.demo import Demo, feature_file
from mmsa_suparc.errors import ConfigError
from mmsa_suparc.metrics import mosi_metrics
from tests.helpers.command import Command

ROOT = Path(__file__).parents[2]
SIZES = {"train": 40, "valid": 30, "test": 20}


def write_features(path: str = "features.pkl", **changes: Any) -> dict[str, dict[str, Any]]:
    """Nine videos of ten clips each."""
    content = feature_file(SIZES)
    for split, fields in content.items():
        del fields["text"]
        fields.update({name: value[split] for name, value in changes.items()})
    Path(path).write_bytes(pickle.dumps(content))
    return content


def bench_file(**changes: object) -> None:
    content = {
        "title": "Folds", "data_sets": ["custom"], "seeds": [1], "folds": 2,
        "shared": {"epochs": 1}, "reference": "ours",
        "variants": {"ours": {"model": "suparc"}, "lf_dnn": {}},
    }  # fmt: skip
    Path("bench.yaml").write_text(yaml.safe_dump({**content, **changes}, sort_keys=False))


def command(demo: Demo) -> tuple[object, ...]:
    return ("bench", "bench.yaml", "--out", "out", "--features", "features.pkl",
            "--text-encoder", demo.encoder)  # fmt: skip


@pytest.mark.slow
def test_a_killed_cross_validation_goes_on_and_predicts_each_clip_once(
    mmsa: Callable, demo: Demo
) -> None:
    content = write_features()
    ids = sorted(str(one) for fields in content.values() for one in fields["id"])
    bench_file(probes=["missing"])
    with Command(*command(demo)) as started:
        started.until("[1/4]")
        started.kill()
        started.wait()
    done = {path: path.stat().st_mtime_ns for path in Path("out/cells").glob("*/records.jsonl")}
    assert done, started.out + started.err
    status, out, err = mmsa(*command(demo), "--jobs", 2)
    assert (status, err) == (0, ""), out
    assert "4 of 4 done" in out
    assert {path: path.stat().st_mtime_ns for path in done} == done

    table = pd.read_csv("out/out_of_fold.csv")
    assert list(table) == ["dataset", "variant", "seed", "fold", "id", "label", "prediction"]
    results = pd.read_csv("out/results.csv")
    assert set(results["fold"]) == {1, 2}
    summary = json.loads(Path("out/summary.json").read_text())
    assert (summary["folds"], summary["pool"]) == (2, ["train", "valid", "test"])
    rows = summary["datasets"]["custom"]["variants"]
    fold_of = {}
    for variant, part in table.groupby("variant"):
        assert sorted(part["id"]) == ids
        measured = mosi_metrics(part["prediction"].to_numpy(), part["label"].to_numpy())
        assert rows[variant]["test"]["MAE"]["values"] == [pytest.approx(measured["MAE"])]
        fold_of[variant] = dict(zip(part["id"], part["fold"], strict=True))
    assert fold_of["ours"] == fold_of["lf_dnn"]
    assert rows["lf_dnn"]["difference"]["clips"] == 90

    # The control is out of fold, too.
    labels = table[table["variant"] == "ours"].set_index("id")["label"]
    specs = [json.loads(path.read_text()) for path in Path("out/cells").glob("*/spec.json")]
    folders = {spec["cell"]["values"]["fold"]: spec for spec in specs}
    assert set(folders) == {"1/2", "2/2"}
    errors = []
    for cell in Path("out/cells").iterdir():
        clips = pd.read_csv(cell / "labels.csv")
        parts = {split: set(part["group"]) for split, part in clips.groupby("split")}
        assert sum(map(len, parts.values())) == 9
        if json.loads((cell / "spec.json").read_text())["cell"]["variant"] == "ours":
            mean = clips.loc[clips["split"] == "train", "label"].mean()
            errors += list((labels[clips.loc[clips["split"] == "test", "id"]] - mean).abs())
    control = summary["datasets"]["custom"]["controls"]["training mean"]["MAE"]
    assert control == pytest.approx(np.mean(errors), abs=1e-3)

    text = Path("out/tables/custom-results.md").read_text()
    assert "2-fold cross-validation over 9 videos of train+validation+test, out-of-fold" in text
    assert not Path("out/tables/custom-validation.md").exists()
    assert "| ours | 1 |" in text
    subsets = Path("out/tables/custom-subsets.md").read_text()
    assert f"{rows['ours']['test']['MAE']['mean']:.4f}" in subsets  # all modalities kept
    assert "fold 2 of 2" in out

    # A seed counts when all of its folds are there.
    victim = next(path for path in done)
    os.remove(victim)
    status, out, _ = mmsa(*command(demo), "--dry-run")
    assert "4 trainings, 1 to do" in out


def test_five_folds_of_the_embedded_data_set_go_into_an_archive_and_back(
    mmsa: Callable, demo: Demo
) -> None:
    bench_file(data_sets=["demo"], folds=None, variants={"lf_dnn": {}}, reference="lf_dnn")
    asked = ("bench", "bench.yaml", "--folds", 5, "--jobs", 2)
    status, out, err = mmsa(*asked, "--out", "out")
    assert (status, err) == (0, ""), out
    assert "5 of 5 done" in out
    table = pd.read_csv("out/out_of_fold.csv")
    assert len(table) == table["id"].nunique() == 1300
    assert table.groupby("fold").size().between(240, 280).all()

    outcomes = [sys.executable, ROOT / "docs/results/study/outcomes.py"]
    paths = ["--data-root", "data-is-embedded", "--text-encoder", "encoder-is-unused"]
    subprocess.run([*outcomes, "pack", "out", "archive.tar.xz", *paths], check=True)
    with tarfile.open("archive.tar.xz") as archive:
        kept = [archive.extractfile(name).read() for name in archive.getnames()]
    assert kept
    assert not any(str(Path.cwd()).encode() in content for content in kept)
    subprocess.run([*outcomes, "unpack", "archive.tar.xz", "again", *paths], check=True)
    status, out, err = mmsa("bench", "report", "again")
    assert (status, err) == (0, ""), out
    pd.testing.assert_frame_equal(pd.read_csv("again/out_of_fold.csv"), table)
    status, out, err = mmsa(*asked, "--out", "again")
    assert (status, err, "5 trainings are done already" in out) == (0, "", True), out


def test_the_other_splits_change_nothing_where_they_are_not_pooled(
    mmsa: Callable, demo: Demo
) -> None:
    content = write_features()
    others = {split: np.array(fields["regression_labels"]) for split, fields in content.items()}
    others["test"] = np.full(SIZES["test"], 77.0)
    write_features("other.pkl", regression_labels=others)
    tables = []
    for name in ("features", "other"):
        status, _, err = mmsa(
            "-m", "lf_dnn", "-d", "custom", "--features", f"{name}.pkl", "--text-encoder",
            demo.encoder, "--epochs", 1, "-s", 1, "--run-dir", name, "--res-save-dir", "res",
            "--set", "fold=2/3", "--set", "pool=[train, valid]",
        )  # fmt: skip
        assert (status, err) == (0, "")
        tables.append(pd.read_csv(f"{name}/seed-1/predictions.csv"))
    pd.testing.assert_frame_equal(*tables)
    clips = {str(one) for split in ("train", "valid") for one in content[split]["id"]}
    assert set(tables[0]["id"]) < clips


def test_bad_input_is_one_line_before_anything_is_written(mmsa: Callable, demo: Demo) -> None:
    write_features()
    bench_file()
    for arguments, message in (
        (("--folds", 10), "10 folds of train+validation+test, which has 9 video(s)"),
        (("--folds", 1), "--folds: found '1', expected a whole number from 2 to 100"),
        (("--pool", "train,vaild"), "pool: no split 'vaild'; did you mean 'valid'"),
        (("--folds", 7, "--pool", "train"), "7 folds of train, which has 4 video(s)"),
        (("--features", "absent.pkl"), "absent.pkl"),
        (("--set", "fold=1/3"), "fold among the values"),
    ):
        status, _, err = mmsa(*command(demo), *arguments)
        assert (status, message in err) == (2, True), err
        assert err.count("\n") <= 1 or "usage" in err
    assert not Path("out").exists()
    write_features(id={split: [f"{split}{row}" for row in range(n)] for split, n in SIZES.items()})
    status, out, err = mmsa(*command(demo), "--dry-run")
    assert status == 0
    assert "each clip is its own group" in err
    assert "4 trainings" in out


def test_a_plan_with_folds() -> None:
    file = plan.BenchFile(data_sets=["mosi"], seeds=[1, 2], variants={"a": {"model": "suparc"}})
    made = plan.make_plan(file, folds=3, pool=["valid", "train"])
    assert [cell.name for cell in made.cells][:2] == [
        "a on mosi, seed 1, fold 1 of 3", "a on mosi, seed 1, fold 2 of 3"
    ]  # fmt: skip
    assert (len(made.cells), made.folds, made.pool) == (6, 3, ("train", "valid"))
    assert made.seeds_of("mosi", "a") == [1, 2]
    assert plan.make_plan(file).cells[0].name == "a on mosi, seed 1"
    with pytest.raises(ConfigError, match="pool: needs folds"):
        plan.make_plan(file, pool=["train"])
    with pytest.raises(ConfigError, match="at most 10,000"):
        plan.make_plan(file, folds=100, seeds=list(range(101)))
    file.variants["a"].sweep["pool"] = [["train"]]
    with pytest.raises(ConfigError, match="pool among the values; folds sets it"):
        plan.make_plan(file, folds=3)
