"""Grids on a real Slurm, whose daemons run on this machine (make test-slurm)."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mmsa_suparc.data.demo import Demo
from tests.helpers.command import Command, mmsa_in_a_process
from tests.helpers.grids import bench_file, cell, log, seconds_of_epoch_1, went_on_after
from tests.helpers.slurm import output, slurm_cluster, until

pytestmark = pytest.mark.slurm
RUN = ("bench", "bench.yaml", "--out", "out", "--executor", "slurm")


@pytest.fixture(scope="module", autouse=True)
def cluster(own_folders: None) -> Iterator[None]:
    with slurm_cluster():
        yield


def states() -> list[str]:
    """Of the jobs that wait or run."""
    return output("squeue", "--noheader", "--array", "--format=%T").split()


def job() -> str:
    """The only cell's."""
    number: str = json.loads((cell() / "job.json").read_text())["job"]
    return number


def test_cells_are_an_array_with_what_each_asks_for(demo: Demo) -> None:
    bench_file("suparc", "lf_dnn", epochs=2)
    asked = "partition=debug,time=0:20:00,cpus_per_task=2,comment=mine,name=grid"
    done = mmsa_in_a_process(*RUN, "--slurm", asked, "--array-parallelism", 1)
    assert done.returncode == 0, done.out + done.err
    assert "2 submitted, 0 were there already" in done.out
    assert "2 of 2 done" in done.out
    kept = [json.loads(path.read_text()) for path in Path("out/cells").glob("*/job.json")]
    (array,) = {each["job"].split("_")[0] for each in kept}
    assert sorted(each["job"] for each in kept) == [f"{array}_0", f"{array}_1"]
    shown = output("scontrol", "show", "job", f"{array}_1")
    for words in ("JobName=grid-", "Comment=mine", "TimeLimit=00:20:00", "CPUs/Task=2",
                  "Requeue=1", "JobState=COMPLETED", "Partition=debug"):  # fmt: skip
        assert words in shown
    script = Path("out/slurm", f"{array}_submission.sh").read_text()
    assert "#SBATCH --array=0-1%1" in script
    assert mmsa_in_a_process(*RUN).out.splitlines()[0] == "2 trainings are done already"


def test_a_requeued_cell_goes_on_where_it_was(demo: Demo) -> None:
    """By Slurm itself, as when a job of more weight takes its place; then by the warning that
    submitit answers."""
    bench_file("suparc", epochs=8)
    with Command(*RUN, "--slurm", "time=60") as process:
        until(lambda: "epoch 2:" in log() and seconds_of_epoch_1())
        seconds = seconds_of_epoch_1()
        output("scontrol", "requeue", job())
        until(lambda: "mmsa: stopped in epoch" in log())
        until(lambda: log().count("epoch 3:") >= 1, seconds=60)
        output("scancel", "--signal=USR2", job())
        assert process.wait() == 0, process.out + process.err
        assert "1 submitted" in process.out
        assert "1 of 1 done" in process.out
    assert log().count("mmsa: stopped in epoch") == 2
    assert "Restarts=2" in output("scontrol", "show", "job", job())
    assert went_on_after(seconds)


def test_a_stopped_submitter_leaves_the_jobs_and_a_second_start_collects_them(demo: Demo) -> None:
    bench_file("suparc", epochs=6, seeds=(1, 2))
    with Command(*RUN, "--array-parallelism", 1) as process:
        until(lambda: "epoch 1:" in log())
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
        assert "2 jobs go on, and the same command watches them again" in process.err
    assert sorted(states()) == ["PENDING", "RUNNING"]
    done = mmsa_in_a_process(*RUN)
    assert done.returncode == 0, done.out + done.err
    assert "0 submitted, 2 were there already" in done.out
    assert "2 of 2 done" in done.out
    assert len(list(Path("out/slurm").glob("*_submitted.pkl"))) == 2


def test_jobs_are_found_by_their_name_when_their_submitter_died_too_early(demo: Demo) -> None:
    bench_file("suparc", epochs=6)
    with Command(*RUN) as process:
        until(lambda: "epoch 1:" in log())
        process.kill()
    kept = json.loads((cell() / "job.json").read_text())
    (cell() / "job.json").write_text(json.dumps({**kept, "job": None}))
    done = mmsa_in_a_process(*RUN)
    assert done.returncode == 0, done.out + done.err
    assert "0 submitted, 1 were there already" in done.out


def test_cancelled_jobs_have_saved_their_state_and_are_no_failures(demo: Demo) -> None:
    bench_file("suparc", epochs=1000)
    with Command(*RUN, "--cancel-on-stop") as process:
        until(lambda: "epoch 2:" in log())
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
        assert "stopped, and the jobs cancelled; the same command goes on" in process.err
    assert states() == []
    assert "mmsa: stopped in epoch" in log()
    with Command(*RUN) as process:
        until(lambda: log().count("epoch 2:") == 2)
        assert "1 submitted" in process.out
        output("scancel", job())
        assert process.wait() == 1
        assert "suparc on demo, seed 1: FAILED (-15)" in process.out
    assert not (cell() / "failed.json").exists()


def test_what_sbatch_refuses_is_one_line(demo: Demo, mmsa: Callable) -> None:
    bench_file("suparc", epochs=1)
    for asked, words in (
        ("partition=absent", "invalid partition specified: absent"),
        ("partiton=debug", "unrecognized option '--partiton=debug'"),
    ):
        status, _, err = mmsa(*RUN, "--slurm", asked)
        assert (status, len(err.splitlines())) == (2, 1)
        assert words in err
    assert states() == []
