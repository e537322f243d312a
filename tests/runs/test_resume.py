"""Nothing lost: real kills, real locks, and runs that end as if nothing had happened."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from mmsa_suparc.data.demo import Demo
from mmsa_suparc.data.files import sha256
from tests.helpers.command import Command, mmsa_in_a_process
from tests.helpers.patience import patience

RUN_OF_TWO_SEEDS = ("-m", "suparc", "-d", "demo", "-s", "1", "-s", "2", "--epochs", "4")
RUN = (*RUN_OF_TWO_SEEDS, "--run-dir")


def result_of(folder: Path) -> dict[str, object]:
    """Everything of a run that must not depend on whether it was killed."""
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    histories = [pd.read_csv(p) for p in sorted(folder.glob("seed-*/history.csv"))]
    return {
        "weights": [sha256(p) for p in sorted(folder.glob("seed-*/model.safetensors"))],
        "predictions": [p.read_text() for p in sorted(folder.glob("seed-*/predictions.csv"))],
        "results": (folder / "results.csv").read_text(),
        "metrics": [record["metrics"] for record in records],
        "losses": [h.filter(regex="loss|valid_[A-Z]|epoch").to_csv() for h in histories],
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, demo: Demo) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    started = time.monotonic()
    assert mmsa_in_a_process(*RUN, folder).returncode == 0
    return {**result_of(folder), "seconds": time.monotonic() - started}


def kill_and_resume(folder: Path, moments: list[float]) -> None:
    """Start, kill without warning after so many seconds, go on; again for each moment."""
    for number, moment in enumerate(moments):
        with Command(*RUN, folder, *(["--resume"] if number else [])) as process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=moment)
            process.kill()
    assert mmsa_in_a_process(*RUN, folder, "--resume").returncode == 0


def check_killed_runs(count: int, undisturbed: dict, tmp_path: Path) -> None:
    chance = random.Random(11)
    for number in range(count):
        moments = [chance.uniform(0.2, 1.0) * undisturbed["seconds"]]
        kill_and_resume(tmp_path / str(number), moments)
        ours = result_of(tmp_path / str(number))
        assert ours == {k: v for k, v in undisturbed.items() if k != "seconds"}, moments
        left = [p.name for p in (tmp_path / str(number)).rglob("*") if "state" in p.name]
        assert left == []


def test_a_killed_run_goes_on_as_if_nothing_had_happened(undisturbed: dict, tmp_path: Path) -> None:
    check_killed_runs(2, undisturbed, tmp_path)


@pytest.mark.slow
def test_runs_killed_at_25_moments(undisturbed: dict, tmp_path: Path) -> None:
    check_killed_runs(25, undisturbed, tmp_path)


@pytest.mark.parametrize(
    ("number", "status"),
    [
        pytest.param(signal.SIGINT, 130, id="INT"),
        pytest.param(signal.SIGTERM, 143, id="TERM", marks=pytest.mark.slow),
    ],
)
def test_asked_to_stop_it_finishes_the_step_and_says_how_to_go_on(
    number: int, status: int, undisturbed: dict, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    with Command(*RUN, folder) as process:
        process.until("2/4")
        process.send_signal(number)
        process.wait()
    err = process.err
    assert process.returncode == status
    assert "stopped in epoch" in err
    assert f"--run-dir {folder} --resume" in err
    assert "Traceback" not in err
    assert mmsa_in_a_process(*RUN, folder, "--resume").returncode == 0
    assert result_of(folder) == {k: v for k, v in undisturbed.items() if k != "seconds"}


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGTERM, id="TERM", marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, id="KILL"),
    ],
)
def test_epochs_that_were_not_written_are_there_after_a_stop_and_come_again_after_a_kill(
    number: int, undisturbed: dict, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    with Command(*RUN, folder, "--set", "save_every=99") as process:
        process.until("2/4")
        process.send_signal(number)
        process.wait()
    saved = [path.name for path in folder.glob("seed-1/state-0*.json")]
    assert len(saved) == (number == signal.SIGTERM)
    assert saved in ([], ["state-00002.json"], ["state-00003.json"])
    assert mmsa_in_a_process(*RUN, folder, "--resume").returncode == 0
    assert result_of(folder) == {k: v for k, v in undisturbed.items() if k != "seconds"}


def test_resume_starts_afresh_where_nothing_was_saved_and_keeps_what_is_done(
    mmsa: Callable, demo: Demo
) -> None:
    arguments = ("-m", "suparc", "-d", "demo", "-s", 1, "--epochs", 1, "--run-dir", "run")
    assert mmsa(*arguments, "--resume")[0] == 0
    before = Path("run/seed-1/model.safetensors").stat().st_mtime_ns
    status, out, err = mmsa(*arguments, "--resume")
    assert (status, err) == (0, "")
    assert "seed 1 (1/1), finished before, kept" in out
    assert "MAE" in out
    assert Path("run/seed-1/model.safetensors").stat().st_mtime_ns == before
    assert len(Path("run/records.jsonl").read_text().splitlines()) == 1


def test_another_configuration_is_refused_by_name(mmsa: Callable, demo: Demo) -> None:
    arguments = ("-m", "suparc", "-d", "demo", "-s", 1, "--epochs", 1, "--run-dir", "run")
    assert mmsa(*arguments)[0] == 0
    status, _, err = mmsa(*arguments, "--resume", "--set", "margin=0.2")
    assert status == 2
    assert "configuration.margin = 0.1, this run has 0.2" in err


def test_a_toolkit_model_starts_its_seed_again(mmsa: Callable, demo: Demo) -> None:
    arguments = ("-m", "lf_dnn", "-d", "demo", "-s", 1, "--epochs", 1, "--run-dir", "run")
    Path("run/seed-1").mkdir(parents=True)
    Path("run/seed-1/checkpoint.pth").write_text("left by a killed run")
    assert mmsa(*arguments, "--resume")[0] == 0


@pytest.mark.slow
def test_two_runs_in_one_folder(undisturbed: dict, demo: Demo) -> None:
    with Command(*RUN, "run") as first:
        while not Path("run/seed-1").is_dir() and first.poll() is None:
            time.sleep(0.05)
        # Of another seed: the first run may have finished one of its own by now.
        other = ("-m", "suparc", "-d", "demo", "-s", "3", "--run-dir", "run")
        second = mmsa_in_a_process(*other)
        assert second.returncode == 2
        assert f"in use by process {first.pid}" in second.err
        first.kill()
    # The lock of a dead holder is taken over.
    assert mmsa_in_a_process(*RUN, "run", "--resume").returncode == 0
    assert result_of(Path("run")) == {k: v for k, v in undisturbed.items() if k != "seconds"}


SAVE_POINTS = {
    "open": ("mmsa_suparc.data.files.os", "open", "before"),
    "half written": ("mmsa_suparc.data.files.os", "fdopen", "write half"),
    "written": ("mmsa_suparc.data.files.os", "fsync", "before"),
    "fsync": ("mmsa_suparc.data.files.os", "fsync", "after"),
    "rename": ("mmsa_suparc.data.files.os", "replace", "before"),
    "sidecar": ("mmsa_suparc.training.state", "write_text", "before"),
}
KILLED_WHILE_SAVING = """
import importlib, os, signal, sys
from pathlib import Path
import torch
from mmsa_suparc.training.state import State, StateFolder
folder, module, name, when = Path(sys.argv[1]), *sys.argv[2:]
states = StateFolder(folder, {"seed": 1}, resume=True)
states.save(1, State({"x": torch.ones(1000)}, {"epoch": 1}))
owner = importlib.import_module(module) if module.startswith("mmsa_suparc.training") else None
if owner is None:
    parent, attribute = module.rsplit(".", 1)
    owner = getattr(importlib.import_module(parent), attribute)
real = getattr(owner, name)
def die(*args, **options):
    if when == "write half":
        file = real(*args, **options)
        file.write(b"half"); file.flush()
    elif when == "after":
        real(*args, **options)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(owner, name, die)
states.save(2, State({"x": torch.full((1000,), 2.0)}, {"epoch": 2}))
"""


@pytest.mark.parametrize("point", SAVE_POINTS)
def test_killed_inside_a_save_the_old_or_the_new_state_loads(point: str, tmp_path: Path) -> None:
    from mmsa_suparc.training.state import StateFolder

    done = subprocess.run(
        [sys.executable, "-c", KILLED_WHILE_SAVING, str(tmp_path), *SAVE_POINTS[point]],
        capture_output=True, text=True, timeout=patience(60), check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    state = StateFolder(tmp_path, {"seed": 1}, resume=True).load()
    assert state.numbers["epoch"] in (1, 2)
    assert state.tensors["x"].eq(state.numbers["epoch"]).all()
    StateFolder(tmp_path, {"seed": 1}).clear()
    assert list(tmp_path.iterdir()) == []


def test_a_flipped_bit_is_noticed_and_the_state_before_serves(tmp_path: Path) -> None:
    import torch

    from mmsa_suparc.errors import UserError
    from mmsa_suparc.training.state import State, StateFolder

    states = StateFolder(tmp_path, {"seed": 1})
    for epoch in (1, 2, 3):
        states.save(epoch, State({"x": torch.full((10,), float(epoch))}, {"epoch": epoch}))
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
    newest = tmp_path / "state-00003.safetensors"
    content = bytearray(newest.read_bytes())
    content[-1] ^= 1
    newest.write_bytes(content)
    assert states.load().numbers["epoch"] == 2
    with pytest.raises(UserError, match="seed = 1, this run 2"):
        StateFolder(tmp_path, {"seed": 2}, resume=True).load()
    os.truncate(tmp_path / "state-00002.json", 5)
    assert states.load() is None


OUTPUTS = {
    "model": "--model-save-dir",
    "res": "--res-save-dir",
    "log": "--log-dir",
    "run": "--run-dir",
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_every_output_place_is_tried_before_the_first_epoch(
    name: str, mmsa: Callable, demo: Demo, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    places = {flag: tmp_path / each for each, flag in OUTPUTS.items()}
    places[OUTPUTS[name]] = tmp_path / "file" / "below"
    options = [word for pair in places.items() for word in pair]
    status, out, err = mmsa("-m", "lf_dnn", "-d", "demo", "-s", 1, "--epochs", 1, *options)
    assert (status, out) == (4, "")
    assert err.startswith(f"mmsa: cannot write {places[OUTPUTS[name]]}")
    assert OUTPUTS[name] in err
    assert err.count("\n") == 1
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "file"]


def test_a_home_that_cannot_be_written_is_named_before_the_first_epoch(
    mmsa: Callable, demo: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    status, out, err = mmsa("-m", "lf_dnn", "-d", "demo", "-s", 1, "--run-dir", "run")
    assert (status, out, err.count("\n")) == (4, "", 1)
    assert "--res-save-dir" in err
    assert not Path("run").exists()


@pytest.mark.parametrize("lost", ["model", "res/normal"])
def test_what_fails_after_training_loses_no_record(lost: str, demo: Demo, mmsa: Callable) -> None:
    run = ("-m", "lf_dnn", "-d", "demo", "-s", "1", "--epochs", "3", "--run-dir", "run",
           "--model-save-dir", "model", "--res-save-dir", "res")  # fmt: skip
    Path(lost).mkdir(parents=True)
    with Command(*run) as process:
        while not Path("run/seed-1/history.csv").exists() and process.poll() is None:
            time.sleep(0.01)
        shutil.rmtree(lost)
        Path(lost).write_text("in the way")
        process.wait()
    assert process.returncode == 4, process.err
    assert process.err.count("\n") == 1
    assert len(Path("run/records.jsonl").read_text().splitlines()) == 1
    assert len(pd.read_csv("run/results.csv")) == 1
    written = Path("run/seed-1/model.safetensors").stat().st_mtime_ns
    Path(lost).unlink()
    status, out, err = mmsa(*run, "--resume")
    assert (status, err) == (0, "")
    assert "epoch" not in out
    assert Path("run/seed-1/model.safetensors").stat().st_mtime_ns == written
    assert Path("model/lf_dnn-demo-1.pth").is_file()
    assert len(pd.read_csv("res/normal/demo.csv")) == 1


def test_a_finished_run_gives_its_row_to_the_toolkits_table_once(
    mmsa: Callable, demo: Demo
) -> None:
    run = ("-m", "lf_dnn", "-d", "demo", "-s", 1, "--epochs", 1, "--run-dir", "run")
    for more, res, rows in (
        ((), "res", 1),
        (("--resume",), "res", 1),
        (("--resume", "-s", 2), "res", 2),  # something new was trained
        (("--resume", "-s", 2), "res", 2),
        (("--resume", "-s", 2), "other", 1),  # another table has it not
    ):
        status, _, err = mmsa(*run, *more, "--res-save-dir", res)
        assert (status, err) == (0, "")
        assert len(pd.read_csv(f"{res}/normal/demo.csv")) == rows, (more, res)


STRANGE = ("-d", "demo", "-s", "1", "--epochs", "2", "--run-dir")


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, demo: Demo) -> Path:
    """A run that was killed after its first epoch."""
    folder = tmp_path_factory.mktemp("killed") / "run"
    with Command(*STRANGE, folder) as process:
        until = time.monotonic() + patience(60)
        while not list(folder.glob("seed-1/state-*.json")) and time.monotonic() < until:
            time.sleep(0.005)
        process.kill()
    return folder


@pytest.mark.parametrize("part", ["numbers", "tensors", "a pipe", "a list", "no safetensors"])
def test_a_state_of_a_stranger_is_left_out_or_refused(
    part: str, killed: Path, mmsa: Callable, tmp_path: Path
) -> None:
    shutil.copytree(killed, tmp_path / "run")
    sidecar = min((tmp_path / "run" / "seed-1").glob("state-*.json"))
    tensors, content = sidecar.with_suffix(".safetensors"), json.loads(sidecar.read_text())
    if part == "numbers":
        content["numbers"] = {"history": [], "best_epoch": 0}
    elif part == "tensors":
        save_file({"model.x": torch.ones(1)}, tensors)
        content["sha256"] = sha256(tensors)
    elif part == "a pipe":
        tensors.unlink()
        os.mkfifo(tensors)
    elif part == "no safetensors":
        tensors.write_bytes(b"x" * 100)
        content["sha256"] = sha256(tensors)
    sidecar.write_text(json.dumps([1] if part == "a list" else content))
    status, _, err = mmsa(*STRANGE, "run", "--resume")
    if part in ("numbers", "tensors"):
        assert (status, err.count("\n")) == (2, 1)
        assert "the saved state of seed 1 does not fit this training" in err
    else:  # it does not count; the seed starts again
        assert (status, err) == (0, "")
