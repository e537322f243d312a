"""Finished cells that keep no weights: results, resuming and addresses are the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import mmsa_suparc
from mmsa_suparc.bench import benchmark, plan
from mmsa_suparc.data.demo import Demo

BENCHMARK = {
    "title": "T",
    "data_sets": ["demo"],
    "seeds": [1],
    "shared": {"epochs": 1},
    "variants": {"LF": {"model": "lf_dnn"}},
}


def write(**changes: object) -> str:
    Path("bench.yaml").write_text(yaml.safe_dump({**BENCHMARK, **changes}))
    return "bench.yaml"


def weights() -> list[Path]:
    return [p for kind in ("*.safetensors", "*.pth") for p in Path("out/cells").rglob(kind)]


@pytest.mark.slow
def test_a_finished_cell_keeps_no_weights_and_is_trained_again_where_a_probe_needs_them(
    mmsa: Callable, demo: Demo
) -> None:
    status, _, err = mmsa("bench", write(), "--out", "out", "--no-models")
    assert (status, err) == (0, "")
    (cell,) = Path("out/cells").iterdir()
    assert weights() == []
    predictions = (cell / "seed-1/predictions.csv").read_bytes()
    records = (cell / "records.jsonl").read_text()

    for more in ((), ("--no-models",)):  # the same cell, and it is done
        _, out, _ = mmsa("bench", "bench.yaml", "--out", "out", "--dry-run", "--json", *more)
        plan_of_it = json.loads(out)
        assert plan_of_it["to_do"] == 0
        assert [row["cell"] for row in plan_of_it["cells"]] == [cell.name]

    status, _, err = mmsa("predict", "--run", cell, "--features", demo.features)
    assert (status, err.count("\n")) == (2, 1)
    assert "its model was not kept" in err
    again = err.partition("train it again: mmsa ")[2].split()
    assert mmsa(*again, "--run-dir", "again")[0] == 0
    assert Path("again/seed-1/predictions.csv").read_bytes() == predictions

    write(probes=["noise"], keep_models=False)
    _, out, err = mmsa("bench", "bench.yaml", "--out", "out", "--dry-run")
    assert "1 to do" in out
    assert "trained again: 1 finished trainings that kept no model" in err
    status, _, err = mmsa("bench", "bench.yaml", "--out", "out")
    assert status == 0
    assert "trained again: 1" in err
    assert (cell / "noise.csv").is_file()
    assert weights() == []
    assert (cell / "seed-1/predictions.csv").read_bytes() == predictions
    assert (cell / "records.jsonl").read_text() == records
    status, _, err = mmsa("bench", "bench.yaml", "--out", "out")
    assert (status, err) == (0, "")


@pytest.mark.parametrize(
    ("said", "file", "kept"),
    [(None, {}, True), (None, {"keep_models": False}, False), (True, {"keep_models": False}, True),
     (False, {}, False)],
)  # fmt: skip
def test_what_a_caller_says_goes_above_the_file(
    said: bool | None, file: dict, kept: bool, registered: None, demo: Demo
) -> None:
    read = plan.read(Path(write(**file)))
    asked = benchmark.prepare(read, Path("out"), device="cpu", keep_models=said)
    asked.write(Path("out"), "a command")
    (job,) = asked.trainings()
    assert job.folder.read_spec()["keep_model"] is kept


def test_the_plan_tells_what_the_models_take(mmsa: Callable, demo: Demo) -> None:
    size = (demo.encoder / "model.safetensors").stat().st_size
    variants = {"ours": {"model": "suparc"}, "LF": {"model": "lf_dnn"}}
    command = ("bench", write(seeds=[1, 2], variants=variants), "--out", "out", "--dry-run")
    sizes = [row["model_bytes"] for row in json.loads(mmsa(*command, "--json")[1])["cells"]]
    assert sizes == [0, 0, size, size]  # the file has LF first
    assert json.loads(mmsa(*command, "--json", "--no-models")[1])["model_bytes"] == 0
    assert "GB" not in mmsa(*command)[1]  # the embedded data set's encoder is small


@pytest.mark.slow
def test_the_function_takes_it_too(demo: Demo) -> None:
    found = mmsa_suparc.bench(
        {**BENCHMARK, "probes": ["missing"]}, out="out", keep_models=False, progress=False
    )
    assert found.unfinished == []
    assert weights() == []
