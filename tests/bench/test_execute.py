"""Running cells: real processes, kept results, failures that stop nobody, kills."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

from mmsa_suparc.bench.folder import CellFolder
from mmsa_suparc.data.demo import Demo
from tests.helpers.command import Command, mmsa_in_a_process
from tests.helpers.patience import patience

BENCH = {
    "title": "Test", "data_sets": ["demo"], "seeds": [1], "shared": {"epochs": 1},
    "reference": "ours",
    "variants": {
        "ours": {"model": "suparc"},
        "lf_dnn": {},
        "broken": {"model": "suparc", "set": {"learning_rate_other": 1e30, "clip_norm": 0}},
    },
}  # fmt: skip


def bench_file(**changes: object) -> Path:
    path = Path("bench.yaml")
    path.write_text(yaml.safe_dump({**BENCH, **changes}, sort_keys=False))
    return path


def folders() -> dict[str, Path]:
    """By variant."""
    specs = {path: json.loads(path.read_text()) for path in Path("out/cells").glob("*/spec.json")}
    return {spec["cell"]["variant"]: path.parent for path, spec in specs.items()}


@pytest.fixture
def finished(mmsa: Callable, demo: Demo) -> tuple[int, str, str]:
    """A benchmark of three cells, one of which diverges."""
    result = mmsa("bench", bench_file(), "--out", "out", "--jobs", 2)
    return result


def test_a_failed_cell_is_reported_and_stops_nobody(
    finished: tuple[int, str, str], mmsa: Callable
) -> None:
    status, out, err = finished
    assert (status, err) == (1, "")
    assert "2 of 3 done" in out
    assert "failed: broken on demo, seed 1" in out
    table = pd.read_csv("out/results.csv")
    done = table[(table["metric"] == "MAE") & (table["split"] == "test")]
    assert set(done["variant"]) == {"ours", "lf_dnn"}
    assert set(table.loc[table["status"] == "failed", "variant"]) == {"broken"}
    broken = CellFolder(folders()["broken"]).failure()
    assert broken["status"] == 3
    assert any("epoch 1" in line for line in broken["lines"])
    # Predictions by clip, for the toolkit's model too.
    kept = pd.read_csv(folders()["lf_dnn"] / "seed-1" / "predictions.csv")
    assert (kept["split"] == "test").sum() == 300

    before = {name: (f / "records.jsonl").stat().st_mtime_ns for name, f in folders().items()
              if (f / "records.jsonl").is_file()}  # fmt: skip
    status, out, _ = mmsa("bench", "bench.yaml", "--out", "out")
    assert status == 1
    assert "2 trainings are done already" in out
    after = {name: (f / "records.jsonl").stat().st_mtime_ns for name, f in folders().items()
             if (f / "records.jsonl").is_file()}  # fmt: skip
    assert before == after

    status, out, _ = mmsa("bench", "bench.yaml", "--out", "out", "--dry-run")
    assert status == 0
    assert "3 trainings, 1 to do" in out
    assert "ours on demo, seed 1  (suparc): done" in out

    summary = json.loads(Path("out/summary.json").read_text())
    rows = summary["datasets"]["demo"]["variants"]
    assert rows["ours"]["seeds"] == [1]
    assert rows["broken"]["seeds"] == []
    assert rows["lf_dnn"]["difference"]["clips"] == 300
    assert summary["datasets"]["demo"]["controls"]["training mean"]["MAE"] > 1
    for suffix in ("md", "tex"):
        text = Path(f"out/tables/demo-results.{suffix}").read_text()
        assert "0/1" in text
        assert "no marks" in text
    report = Path("out/report.html").read_text()
    assert "broken on demo, seed 1: exit status 3" in report
    assert re.findall(r"(?:src|href)=[\"'](?!#|cells/|tables/|data:)[^\"']*", report) == []


def test_a_plan_has_a_time_before_anything_was_timed(mmsa: Callable, demo: Demo) -> None:
    status, out, _ = mmsa("bench", "quick", "--out", "out", "--dry-run")
    assert status == 0
    assert "(a guess)" in out
    assert re.search(r"18 trainings, 18 to do, about [1-9]\d* minutes", out)
    assert not Path("out").exists()


def test_variants_of_the_same_values_share_a_training(mmsa: Callable, demo: Demo) -> None:
    file = bench_file(
        variants={
            "ours": {"model": "suparc"},
            "again": {"model": "suparc", "set": {"threshold": 0.5}},
        },
        reference="ours",
    )
    run = ("bench", file, "--out", "out", "--jobs", 2)
    status, out, _ = mmsa(*run, "--dry-run")
    assert "again on demo, seed 1  (suparc): the same training as above" in out
    assert "1 trainings, 1 to do" in out
    status, out, _ = mmsa(*run)
    assert status == 0
    assert "[1/1]" in out
    assert "2 of 2 done" in out
    table = pd.read_csv("out/results.csv")
    assert set(table["variant"]) == {"ours", "again"}
    assert len(list(Path("out/cells").iterdir())) == 1


def test_mistakes_are_named_before_anything_is_written(mmsa: Callable, demo: Demo) -> None:
    wrong = bench_file(variants={"ours": {"model": "suparc", "set": {"treshold": 1}}}, reference="")
    status, _, err = mmsa("bench", wrong, "--out", "out")
    assert status == 2
    assert "ours on demo, seed 1: variant 'ours': unknown key 'treshold'" in err
    for arguments, message in (
        (("bench", "absent", "--out", "out"), "benchmark absent: no such file"),
        (("bench", bench_file(), "--out", "out", "--jobs", 0), "--jobs: found '0'"),
        (("bench", bench_file(data_sets=["demoo"]), "--out", "out"), "unknown data set 'demoo'"),
    ):
        status, _, err = mmsa(*arguments)
        assert (status, message in err) == (2, True), err
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGKILL, id="KILL"),
        pytest.param(signal.SIGTERM, id="TERM", marks=pytest.mark.slow),
    ],
)
def test_killed_in_its_second_cell_it_goes_on_and_repeats_no_finished_one(
    number: int, demo: Demo
) -> None:
    path = bench_file(
        seeds=[1, 2],
        shared={"epochs": 2},
        variants={"ours": {"model": "suparc"}},
        probes=["geometry"],
    )
    command = ("bench", path, "--out", "out")
    cells = Path("out/cells")
    with Command(*command) as process:
        while process.poll() is None:
            if sum("epoch 1" in log.read_text() for log in cells.glob("*/cell.log")) == 2:
                break
            time.sleep(0.05)
        process.send_signal(number)
        process.wait()
    assert process.returncode == (143 if number == signal.SIGTERM else -number)
    assert ("the same command goes on" in process.err) == (number == signal.SIGTERM)
    finished = {path: path.stat().st_mtime_ns for path in cells.glob("*/records.jsonl")}
    assert len(finished) == 1
    done = mmsa_in_a_process(*command)
    assert done.returncode == 0, done.out + done.err
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert len(list(cells.glob("*/records.jsonl"))) == 2
    assert len(pd.read_csv("out/results.csv").query("metric == 'MAE' and split == 'test'")) == 2


STOPPED_AS_CELLS_START = """
import signal, subprocess, sys, threading, time
from pathlib import Path
from mmsa_suparc.bench import execute
from mmsa_suparc.bench.folder import CellFolder

when, count = sys.argv[1], int(sys.argv[2])
execute.command = lambda folder: ["sleep", "600"]
signal.signal(signal.SIGINT, signal.default_int_handler)
real = subprocess.Popen


def interrupt():
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


class Slow(real):
    # The interruption comes when the process is there and nobody has noted it yet.
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        with open("pids", "a") as file:
            print(self.pid, file=file)
        if when == "started":
            interrupt()
            time.sleep(0.5)


subprocess.Popen = Slow
jobs = []
for number in range(count):
    folder = CellFolder(Path("cells", str(number)))
    folder.path.mkdir(parents=True)
    jobs.append(execute.Job(str(number), folder, False, False))


def on_start(job):
    if when == "submitted" and job.name == "0":
        interrupt()


try:
    execute.execute(jobs, at_once=1, on_start=on_start)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize(("when", "count"), [("started", 1), ("submitted", 2000)])
def test_an_interruption_just_as_a_cell_starts_ends_it(when: str, count: int) -> None:
    """Real processes that would sleep for ten minutes; nobody waits for them."""
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED_AS_CELLS_START, when, str(count)], start_new_session=True
    ) as process:
        try:
            assert process.wait(timeout=patience(20)) == 130
        except subprocess.TimeoutExpired:  # what it has started goes with it
            process.kill()
            for pid in Path("pids").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            raise
