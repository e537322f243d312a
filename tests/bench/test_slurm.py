"""Slurm's options, and grids through submitit on this machine: real jobs, real kills."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from mmsa_suparc.bench import slurm, slurm_options
from mmsa_suparc.data.demo import Demo
from mmsa_suparc.errors import UserError
from tests.helpers.command import Command, mmsa_in_a_process
from tests.helpers.grids import (
    bench_file,
    cell,
    jobs_submitted,
    log,
    seconds_of_epoch_1,
    went_on_after,
)
from tests.helpers.slurm import until

LOCAL = ("bench", "bench.yaml", "--out", "out", "--executor", "slurm", "--slurm", "cluster=local")


# --- Options ----------------------------------------------------------------------------------


def test_options_become_submitit_s_or_sbatch_s() -> None:
    found = slurm_options.read(
        ["partition=gpu,gpus-per-node=1,time=1-12:00", "nodelist=n[1,3-5],exclusive=true",
         "setup=module load cuda,mem=16G,job_name=mine,max_num_timeout=9"]
    )  # fmt: skip
    assert (found.cluster, found.minutes, found.name) == ("slurm", 36 * 60, "mine")
    assert found.max_num_timeout == 9
    assert found.submitit == {"gpus_per_node": 1, "setup": ["module load cuda"]}
    assert found.sbatch == {
        "partition": "gpu", "nodelist": "n[1,3-5]", "exclusive": True, "mem": "16G",
    }  # fmt: skip
    assert slurm_options.read([]) == slurm_options.SlurmOptions()


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("60", 60), ("90:01", 91), ("1:30:00", 90), ("2-0", 2880), ("1-0:30", 1470), ("0:0:1", 1)],
)
def test_a_time_is_slurm_s(text: str, minutes: int) -> None:
    assert slurm_options.read([f"time={text}"]).minutes == minutes


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("partition=gpu", "cpu"),
        ("gpus=0", "cpu"),
        ("gres=disk:1", "cpu"),
        ("gpus-per-node=a100:2", "cuda"),
        ("gpus_per_task=1", "cuda"),
        ("gres=gpu:1", "cuda"),
    ],
)
def test_a_job_that_asks_for_gpus_trains_on_one(text: str, device: str) -> None:
    assert slurm_options.read([text]).device == device


WRONG = {
    "": "found '', expected KEY=VALUE",
    "partition": "found 'partition', expected KEY=VALUE",
    "partition=": "found 'partition=', expected KEY=VALUE",
    "a b=c": "found 'a b=c', expected KEY=VALUE",
    "partition=gpu,": "found '', expected KEY=VALUE",
    "nodelist=a,b": "found 'b', expected KEY=VALUE",
    "partition=a,partition=b": "partition is said twice",
    "cluster=slrum": "unknown cluster 'slrum'; did you mean 'slurm'?",
    "time=soon": "found time='soon', expected minutes",
    "time=0": "found time='0', expected minutes",
    "array=1-3": "array is the benchmark's to say",
    "nodes=2": "nodes is the benchmark's to say (one a training)",
    "cpus_per_task=two": "found cpus_per_task='two', expected a whole number",
    "name=a/b": "found name='a/b', expected letters",
    "comment=a\nb": "expected one line of text",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_option_is_one_line(text: str, mmsa: Callable) -> None:
    status, _, err = mmsa(
        "bench", "quick", "--out", "out", "--executor", "slurm", "--slurm", text
    )  # fmt: skip
    assert (status, len(err.splitlines())) == (2, 1)
    assert WRONG[text] in err
    assert not Path("out").exists()


def test_options_of_slurm_need_its_executor(mmsa: Callable) -> None:
    status, _, err = mmsa("bench", "quick", "--out", "out", "--slurm", "partition=gpu")
    assert (status, err) == (2, "mmsa: --slurm: needs --executor slurm\n")


def test_without_submitit_or_slurm_nothing_is_written(
    mmsa: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ("bench", "quick", "--out", "out", "--executor", "slurm")
    monkeypatch.setenv("PATH", os.fspath(Path.cwd()))
    status, _, err = mmsa(*run)
    assert (status, len(err.splitlines())) == (2, 1)
    assert "no srun here" in err
    monkeypatch.setitem(sys.modules, "submitit", None)
    status, _, err = mmsa(*run)
    assert (status, len(err.splitlines())) == (2, 1)
    assert "submitit is not installed; pip install 'mmsa-suparc[slurm]'" in err
    assert not Path("out").exists()


def test_a_cluster_that_does_not_answer_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "squeue"
    program.write_text("#!/bin/sh\necho 'slurm_load_jobs error: Connection refused' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(UserError, match="squeue: slurm_load_jobs error: Connection refused"):
        slurm.look([slurm.Place("slurm", "name", 0, None)])


# --- Jobs of this machine ------------------------------------------------------------------


@pytest.mark.slow
def test_two_submitters_and_a_third_after_their_death_submit_each_cell_once(demo: Demo) -> None:
    bench_file("suparc", "lf_dnn", epochs=3)
    with Command(*LOCAL) as one, Command(*LOCAL) as other:
        for process in (one, other):
            process.until("submitted")
            process.kill()
            process.wait()
        said = one.out + other.out
    assert "2 submitted, 0 were there already" in said
    assert "0 submitted, 2 were there already" in said
    with Command(*LOCAL) as process:
        process.until("submitted")
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
        assert "0 submitted, 2 were there already" in process.out
        assert "2 jobs go on, and the same command watches them again" in process.err
    done = mmsa_in_a_process(*LOCAL)
    assert done.returncode == 0, done.out + done.err
    assert "2 of 2 done" in done.out
    assert jobs_submitted() == 2
    for folder in Path("out/cells").iterdir():
        assert len((folder / "records.jsonl").read_text().splitlines()) == 1
        assert (folder / "cell.log").read_text().count("epoch 1:") == 1


@pytest.mark.slow
def test_a_preempted_cell_goes_on_in_the_same_job(demo: Demo) -> None:
    bench_file("suparc", epochs=6)
    with Command(*LOCAL) as process:
        until(lambda: "epoch 2:" in log() and seconds_of_epoch_1())
        seconds = seconds_of_epoch_1()
        job = psutil.Process(int(json.loads((cell() / "job.json").read_text())["job"]))
        (task,) = job.children()
        task.send_signal(signal.SIGUSR2)
        assert process.wait() == 0, process.out + process.err
        assert "1 of 1 done" in process.out
    assert "stopping after this step" in log()
    assert went_on_after(seconds)
    assert jobs_submitted() == 1


@pytest.mark.slow
def test_a_lost_job_is_submitted_again(
    demo: Demo, mmsa: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm, "GRACE", 0.2)
    bench_file("suparc", epochs=6)
    seconds = []

    def lose() -> None:
        until(lambda: "epoch 2:" in log() and seconds_of_epoch_1())
        seconds.append(seconds_of_epoch_1())
        job = psutil.Process(int(json.loads((cell() / "job.json").read_text())["job"]))
        for process in (*job.children(recursive=True), job):
            process.kill()

    losing = threading.Thread(target=lose)
    losing.start()
    status, out, _ = mmsa(*LOCAL)
    losing.join()
    assert status == 0
    assert "1 jobs were lost on the cluster and are submitted again" in out
    assert jobs_submitted() == 2
    assert went_on_after(seconds[0])


@pytest.mark.slow
def test_jobs_are_cancelled_where_that_was_asked_for(demo: Demo) -> None:
    bench_file("suparc", epochs=1000)
    with Command(*LOCAL, "--cancel-on-stop") as process:
        until(lambda: "epoch 2:" in log())
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 143
        assert "stopped, and the jobs cancelled; the same command goes on" in process.err
    job = json.loads((cell() / "job.json").read_text())["job"]
    assert not psutil.pid_exists(int(job))
    assert "mmsa: stopped in epoch" in log()
    assert not (cell() / "failed.json").exists()
