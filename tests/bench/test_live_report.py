"""A benchmark's folder has the report of what is finished, while it runs and after a stop."""

from __future__ import annotations

import json
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from mmsa_suparc.bench import kept_plan
from mmsa_suparc.data.demo import Demo
from tests.helpers.command import Command
from tests.helpers.patience import patience

#: Trainings that end soon, and one that would go on for minutes.
BENCH = {
    "title": "Live", "data_sets": ["demo"], "seeds": [1], "reference": "quick",
    "variants": {
        "quick": {"model": "lf_dnn", "set": {"epochs": 1}},
        "other": {"model": "lf_dnn", "set": {"epochs": 2}},
        "slow": {"model": "lf_dnn", "set": {"epochs": 10_000, "early_stop": 10_000}},
    },
}  # fmt: skip
UNFINISHED = "Of 2 of 3 trainings: 1 not finished."


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, demo: Demo) -> Path:
    """The folder of a benchmark that was stopped in its third training.

    Its first report is made after the first training; the pause after it is longer than the second.
    """
    folder = tmp_path_factory.mktemp("bench")
    (folder / "bench.yaml").write_text(yaml.safe_dump(BENCH, sort_keys=False))
    page = folder / "out" / "report.html"
    with Command("bench", "bench.yaml", "--out", "out", folder=folder) as command:
        deadline = time.monotonic() + patience(120)
        while not (page.is_file() and "[2/3]" in command.out) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert command.poll() is None, command.out + command.err
        assert re.search(r"Of [12] of 3 trainings: [21] not finished\.", page.read_text())
        command.send_signal(signal.SIGTERM)
        assert command.wait(patience(120)) == 143
        assert "writing the report of what is finished" in command.out
    assert "the same command goes on" in command.err
    assert UNFINISHED in page.read_text()
    return folder / "out"


@pytest.mark.slow
def test_the_folder_alone_makes_the_report_of_what_is_finished(
    stopped: Path, mmsa: Callable, tmp_path: Path
) -> None:
    out = shutil.copytree(stopped, tmp_path / "moved")
    status, said, err = mmsa("bench", "report", out)
    assert (status, err) == (0, "")
    assert "2 of 3 done; report:" in said
    page = (out / "report.html").read_text()
    assert UNFINISHED in page
    assert "<code>mmsa bench bench.yaml --out out</code>" in page
    summary = json.loads((out / "summary.json").read_text())["datasets"]["demo"]["variants"]
    assert {name: row["seeds"] for name, row in summary.items()} == {
        "quick": [1], "other": [1], "slow": [],
    }  # fmt: skip
    assert list(out.glob(".*.html.*")) == []
    for cell in kept_plan.read(out).folders:  # as while its model is probed
        (out / "cells" / cell / "labels.csv").unlink(missing_ok=True)
    status, _, err = mmsa("bench", "report", out)
    assert status == 2
    assert "none of its 3 trainings is finished; run the benchmark first" in err


@pytest.mark.slow
def test_a_folder_of_before_is_known_by_its_last_report(
    stopped: Path, mmsa: Callable, tmp_path: Path
) -> None:
    out = shutil.copytree(stopped, tmp_path / "out")
    assert mmsa("bench", "report", out)[0] == 0
    before = (out / "results.csv").read_bytes(), (out / "summary.json").read_bytes()
    (out / kept_plan.NAME).unlink()
    (out / "tables" / "demo-results.md").unlink()
    assert mmsa("bench", "report", "--reference", out)[0] == 0
    assert ((out / "results.csv").read_bytes(), (out / "summary.json").read_bytes()) == before
    assert (out / "tables" / "demo-results.md").is_file()
    (out / "summary.json").unlink()
    status, _, err = mmsa("bench", "report", out)
    assert (status, "run the benchmark's command again" in err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("absent",), "absent: no such folder"),
        ((".",), "no benchmark's folder; expected the --out of mmsa bench"),
        ((), "a benchmark file of that name is ./report"),
        (("--out", "out"), "a benchmark file of that name is ./report"),
        (("broken",), "plan.cells: "),
        (("outside",), "'../x' is no cell's folder"),
    ],
)
def test_bad_input_is_one_line(arguments: tuple, message: str, mmsa: Callable) -> None:
    cell = {"variant": "a", "model": "a", "dataset": "a", "seed": 1, "values": {}}
    plan = {"title": "", "cells": [cell], "reference": "a", "probes": []}
    for name, content in (
        ("broken", {"plan": {**plan, "cells": 1}, "folders": [], "asked": [], "command": ""}),
        ("outside", {"plan": plan, "folders": ["../x"], "asked": ["a"], "command": ""}),
    ):
        Path(name).mkdir()
        (Path(name) / kept_plan.NAME).write_text(json.dumps(content))
    status, out, err = mmsa("bench", "report", *arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
