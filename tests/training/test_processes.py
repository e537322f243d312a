"""One model over several processes: the same loss, gradient and metrics as in one."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from mmsa_suparc.data.demo import Demo
from mmsa_suparc.errors import ConfigError
from mmsa_suparc.training import loop, processes
from mmsa_suparc.training.runtime import find_device
from tests.helpers.patience import patience
from tests.helpers.small import FAST

REPOSITORY = Path(__file__).resolve().parents[2]


def launcher(count: int) -> list[str]:
    """The command that runs a module in so many processes of this machine."""
    several = ["torch.distributed.run", "--nproc-per-node", str(count), "--standalone", "-m"]
    return [sys.executable, "-m", *(several if count > 1 else [])]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}


def launch(count: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*launcher(count), *arguments],
        capture_output=True, text=True, timeout=patience(300), check=False, env=environment(),
    )  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, torch.Tensor]]:
    """What one process and what two computed."""
    results = {}
    for count in (1, 2):
        path = tmp_path_factory.mktemp("worker") / "found.pt"
        done = launch(count, "tests.training.worker", str(path))
        assert done.returncode == 0, done.stderr
        results[count] = torch.load(path, weights_only=True)
    return results


def same(found: dict, prefix: str, tolerance: float = 1e-5) -> int:
    one, two = found[1], found[2]
    names = [name for name in one if name.startswith(prefix)]
    assert names == [name for name in two if name.startswith(prefix)]
    for name in names:
        torch.testing.assert_close(two[name], one[name], atol=tolerance, rtol=tolerance, msg=name)
    return len(names)


@pytest.mark.parametrize("size", [12, 7, 1])
def test_loss_and_gradient_are_those_of_one_process(found: dict, size: int) -> None:
    assert same(found, f"{size}.") > 20
    assert sum(tensor.abs().sum() for tensor in found[2].values() if tensor.ndim) > 0


def test_every_clip_is_evaluated_once(found: dict) -> None:
    assert len(found[2]["prediction"]) == 53
    assert same(found, "prediction", 1e-6) == same(found, "fusion", 1e-6) == 1
    assert same(found, "encoded", 1e-6) == 1


def test_training_gives_the_same_weights_and_metrics(found: dict) -> None:
    assert same(found, "fitted", 1e-4) > 20
    assert same(found, "options", 1e-4) > 20


def test_what_processes_tell_each_other(found: dict) -> None:
    assert found[2]["any"].item() is True
    assert found[2]["main"].item() == 0


@pytest.mark.slow
def test_one_run_of_two_processes_is_written_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMSA_SUPARC_CACHE", str(tmp_path / "cache"))  # both begin with nothing
    run = ("mmsa_suparc", "-m", "suparc", "-d", "demo", "-s", "1", "--epochs", "2")
    done = launch(2, *run, "--run-dir", "run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("run folder: run") == 1
    assert len(Path("run/records.jsonl").read_text().splitlines()) == 1
    assert json.loads(Path("run/seed-1/environment.json").read_text())["processes"] == 2
    assert len(pd.read_csv("run/seed-1/predictions.csv")) == 500
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cache", "run"]
    assert "without a cache" not in done.stderr
    assert [p.name[0] != "." for p in (tmp_path / "cache" / "features").iterdir()] == [True]
    # Finished seeds are kept, another one is trained, by all processes.
    more = launch(2, *run, "-s", "2", "--run-dir", "run", "--resume")
    assert more.returncode == 0, more.stderr
    assert pd.read_csv("run/results.csv")["seed"].tolist() == [1, 2]


def launch_on_two_machines(
    folder: Path, *options: tuple[object, ...]
) -> list[subprocess.CompletedProcess[str]]:
    """One process on each of two "machines", which share nothing but a port: working, home and
    cache folders are their own, and so are the options."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    started = []
    for number, words in enumerate(options):
        machine = folder / f"machine-{number}"
        for name in ("work", "home"):
            (machine / name).mkdir(parents=True, exist_ok=True)
        own = {"HOME": str(machine / "home"), "MMSA_SUPARC_CACHE": str(machine / "cache")}
        several = ["--nnodes", "2", "--node-rank", str(number), "--nproc-per-node", "1",
                   "--master-addr", "127.0.0.1", "--master-port", port,
                   "-m", "mmsa_suparc"]  # fmt: skip
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "torch.distributed.run", *several, *map(str, words)],
                cwd=machine / "work", env={**environment(), **own}, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )
        )  # fmt: skip
    ended = []
    try:
        for process in started:
            out, err = process.communicate(timeout=patience(120))
            ended.append(subprocess.CompletedProcess("", process.returncode, out, err))
    finally:
        for process in started:
            process.kill()
    return ended


def said(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What the command itself said of its failure; the launcher says more."""
    return [line for line in done.stderr.splitlines() if line.startswith(("mmsa:", "mmsa,"))]


@pytest.fixture
def machines(tmp_path: Path, small_root: Path, demo: Demo) -> list[tuple[object, ...]]:
    """The options of a run on two machines whose data and encoder lie in folders of their own. The
    encoder knows no dropout, of which each process has its own."""
    found = []
    for number in (0, 1):
        data, encoder = tmp_path / f"data-{number}", tmp_path / f"encoder-{number}"
        shutil.copytree(small_root, data)
        shutil.copytree(demo.encoder, encoder)
        config = json.loads((encoder / "config.json").read_text())
        config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        (encoder / "config.json").write_text(json.dumps(config))
        found.append(
            ("-m", "suparc", "-d", "mosi", "--data-root", data, "--text-encoder", encoder,
             "--epochs", 3, "--set", "dropout=0", "--set", "batch_size=8",
             "--set", "precision=fp32", "-s", 1)
        )  # fmt: skip
    return found


@pytest.mark.slow
def test_two_machines_with_folders_of_their_own_give_the_results_of_one_process(
    tmp_path: Path, machines: list[tuple[object, ...]]
) -> None:
    one = launch(1, "mmsa_suparc", *map(str, machines[0]), "--run-dir", "one")
    assert one.returncode == 0, one.stderr
    run = [(*options, "--run-dir", "run") for options in machines]
    done = launch_on_two_machines(tmp_path, *run)
    assert [each.returncode for each in done] == [0, 0], done
    works = [tmp_path / f"machine-{number}" / "work" for number in (0, 1)]
    assert list(works[1].iterdir()) == []
    assert done[1].stdout == ""
    assert json.loads((works[0] / "run/seed-1/environment.json").read_text())["processes"] == 2
    ours, theirs = (
        pd.read_csv(folder / "seed-1" / "predictions.csv")
        for folder in (works[0] / "run", Path("one"))
    )
    assert ours["id"].tolist() == theirs["id"].tolist()
    assert abs(ours["prediction"] - theirs["prediction"]).max() < 1e-4
    # What the main process alone can know ends both, with one line each.
    again = launch_on_two_machines(tmp_path, *run)
    line = "--run-dir run: already holds seed 1; choose another folder or seed, or keep it with"
    assert all(each.returncode != 0 for each in again)
    assert [len(said(each)) for each in again] == [1, 1], again
    assert said(again[0])[0].startswith(f"mmsa: {line}")
    assert said(again[1])[0].startswith(f"mmsa, process 1: ended with process 0: {line}")
    assert list(works[1].iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "lines"),
    [
        ("other data", ["mmsa: process 1 has data = ", "mmsa, process 1: process 1 has data = "]),
        (
            "no data",
            ["mmsa: ended with process 1: no feature file at ",
             "mmsa, process 1: no feature file at "],
        ),
        (
            "other options",
            ["mmsa: process 1 has configuration.batch_size = 9, process 0 8; ",
             "mmsa, process 1: process 1 has configuration.batch_size = 9, process 0 8; "],
        ),
        (
            "a mistake",
            ["mmsa: ended with process 1: --set: batch_size = -1: should be ",
             "mmsa, process 1: --set: batch_size = -1: should be "],
        ),
    ],
)  # fmt: skip
def test_two_machines_that_differ_are_refused_by_both(
    change: str, lines: list[str], tmp_path: Path, machines: list[tuple[object, ...]]
) -> None:
    path = tmp_path / "data-1" / "MOSI" / "Processed" / "unaligned_50.pkl"
    more: tuple[object, ...] = ()
    if change == "other data":
        content = pickle.loads(path.read_bytes())
        content["test"]["regression_labels"][0] += 0.2
        path.write_bytes(pickle.dumps(content))
    elif change == "no data":
        path.unlink()
    else:
        more = ("--set", f"batch_size={9 if change == 'other options' else -1}")
    done = launch_on_two_machines(tmp_path, machines[0], (*machines[1], *more))
    assert all(each.returncode != 0 for each in done)
    for each, line in zip(done, lines, strict=True):
        assert [found[: len(line)] for found in said(each)] == [line], each.stderr
    for number in (0, 1):
        assert list((tmp_path / f"machine-{number}" / "work").iterdir()) == []


@pytest.mark.slow
def test_two_processes_killed_and_resumed_end_as_if_nothing_had_happened(
    demo: Demo, tmp_path: Path
) -> None:
    run = ("mmsa_suparc", "-m", "suparc", "-d", "demo", "-s", "1", "--epochs", "4", "--run-dir")
    assert launch(2, *run, "whole").returncode == 0
    for number, seconds in enumerate((9.0, 11.0, 13.0)):
        folder = f"killed-{number}"
        with subprocess.Popen(
            [*launcher(2), *run, folder], env=environment(),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ) as process:  # fmt: skip
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=seconds)
            # Each of its processes leads a session of its own.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                of = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
                for one in (process.pid, *map(int, of.split())):
                    os.kill(one, signal.SIGKILL)
        assert launch(2, *run, folder, "--resume").returncode == 0
        for name in ("model.safetensors", "predictions.csv"):
            ours, whole = (Path(f, "seed-1", name).read_bytes() for f in (folder, "whole"))
            assert ours == whole, (name, seconds)


def test_a_mistake_ends_all_processes_and_says_which_one_met_it(demo: Demo) -> None:
    done = launch(2, "mmsa_suparc", "-m", "suparc", "-d", "demo", "--set", "batch_size=-1")
    assert done.returncode != 0
    assert done.stderr.count("mmsa: --set: batch_size = -1") == 1
    assert done.stderr.count("mmsa, process 1: --set: batch_size = -1") <= 1
    assert "Error" not in done.stderr.split("mmsa: --set")[0]
    assert not Path("runs").exists()


@pytest.fixture
def one_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment that a launcher gives to the second of two processes."""
    names = {"RANK": 1, "LOCAL_RANK": 1, "WORLD_SIZE": 2, "MASTER_ADDR": "x", "MASTER_PORT": 1}
    for name, value in names.items():
        monkeypatch.setenv(name, str(value))


def test_parts_are_equal_and_cover_the_batch(
    one_of_two: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in range(1, 9):
        parts = []
        for number in (0, 1):
            monkeypatch.setenv("RANK", str(number))
            parts.append(processes.part_of(torch.arange(size)))
        assert len(parts[0]) == len(parts[1]) == -(-size // 2)
        assert torch.cat(parts)[:size].tolist() == list(range(size))


def test_each_process_takes_the_gpu_of_its_number(
    one_of_two: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_device(None).type == "cpu" or torch.cuda.is_available()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name in (None, "auto", "cuda"):
        assert find_device(name) == torch.device("cuda:1")
    with pytest.raises(Exception, match="one device for 2 processes"):
        find_device("cuda:0")


def test_what_several_processes_cannot_do_is_said(one_of_two: None, mmsa: object) -> None:
    with pytest.raises(ConfigError, match="contrastive_batch_size = 64: not with 2 processes"):
        loop.contrastive_batch_size(FAST.model_copy(update={"contrastive_batch_size": 64}))
    status, _, err = mmsa("-m", "lf_dnn", "-d", "demo", "--run-dir", "run")
    assert status == 2
    assert "its trainer knows one process, and 2 were launched" in err
