"""What a terminal and a log file are told while a benchmark's trainings run."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from mmsa_suparc.bench.execute import Job, Outcome
from mmsa_suparc.bench.folder import CellFolder, epoch_line
from mmsa_suparc.cli.display import Display, Running


def job(tmp_path: Path, name: str, *, epochs: int | None = 4) -> Job:
    folder = CellFolder(tmp_path / name)
    folder.path.mkdir()
    folder.write_spec({"cell": {"model": "suparc"}, "identity": {"values": {"epochs": epochs}}})
    return Job(f"{name} on demo, seed 1", folder, done=False, failed=False)


def tell(one: Job, epoch: int, mae: float, *, end: str = "\n") -> None:
    row = {"epoch": epoch, "valid_Loss": 2 * mae, "valid_MAE": mae}
    with one.folder.log.open("a", encoding="utf-8") as log:
        log.write(epoch_line(row) + end)


def terminal(width: int = 80, height: int = 24) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, height=height)


def told(target: Console) -> str:
    assert isinstance(target.file, io.StringIO)
    return target.file.getvalue()


def shown(display: Display) -> str:
    """The table as it stands."""
    target = Console(file=io.StringIO(), width=80, color_system=None)
    target.print(display.shown())
    return told(target)


def test_a_log_file_gets_a_line_a_training_with_the_time_left(tmp_path: Path) -> None:
    jobs = [job(tmp_path, name) for name in ("a", "b", "c")]
    target = Console(file=io.StringIO(), width=80)
    with Display(jobs, target=target) as display:
        for one, seconds in zip(jobs, (200.0, 400.0, 60.0), strict=True):
            display.start(one)
            display.end(Outcome(one, 0 if one is not jobs[2] else 3, seconds))
    assert told(target).splitlines() == [
        "[1/3] a on demo, seed 1: done in 200 s; about 7 min left",
        "[2/3] b on demo, seed 1: done in 400 s; about 5 min left",
        "[3/3] c on demo, seed 1: FAILED (3) in 60 s",
    ]


def test_a_terminal_sees_what_runs(tmp_path: Path) -> None:
    jobs = [job(tmp_path, name) for name in ("a", "b", "c")]
    tell(jobs[0], 3, 0.1)  # of an earlier start
    display = Display(jobs, target=terminal())
    display.start(jobs[0])
    display.start(jobs[1])
    table = shown(display)
    assert "a on demo, seed 1    –/4          –" in table
    assert "0/3 ended, 2 running, 1 waiting" in table
    tell(jobs[0], 1, 0.75)
    tell(jobs[0], 2, 0.5, end="")  # half-written
    display.end(Outcome(jobs[1], 1, 2.0))
    display._looked = 0.0
    table = shown(display)
    assert "a on demo, seed 1    1/4     0.7500" in table
    assert "b on demo" not in table
    assert "1/3 ended, 1 failed, 1 running, 1 waiting" in table


def test_the_table_comes_and_goes_and_lines_stay(tmp_path: Path) -> None:
    jobs = [job(tmp_path, name) for name in ("a", "b")]
    target = terminal()
    with Display(jobs, target=target) as display:
        display.start(jobs[0])
        display.say("a node joined [red]today[/red]")
        display.end(Outcome(jobs[0], 0, 3.0))
    assert "a node joined [red]today[/red]" in told(target)
    assert "[1/2] a on demo, seed 1: done in 3 s\n" in told(target)
    assert told(target).rstrip("\n").count("\x1b[?25l") == told(target).count("\x1b[?25h") == 1
    silent = terminal()
    with Display(jobs, 0, target=silent) as display:
        display.start(jobs[0])
        display.end(Outcome(jobs[0], 0, 3.0))
    assert told(silent) == ""


def test_more_trainings_than_lines_are_counted(tmp_path: Path) -> None:
    jobs = [job(tmp_path, f"t{number}") for number in range(30)]
    display = Display(jobs, target=terminal(height=20))
    for one in jobs:
        display.start(one)
    assert "… and 18 more" in shown(display)
    assert len(shown(display).splitlines()) < 20


def test_the_time_left_is_by_epochs_or_by_a_finished_training(tmp_path: Path) -> None:
    one = job(tmp_path, "a", epochs=5)
    running = Running(one, now=0.0)
    assert running.left(10.0, None) is None
    assert running.left(10.0, 100.0) == (90.0, "≈")
    for epoch in (1, 2):  # given back by a state, at once
        tell(one, epoch, 0.5)
    running.look(12.0)
    assert running.left(12.0, None) is None
    tell(one, 3, 0.4)
    running.look(20.0)
    assert running.left(21.0, None) == (15.0, "≤")  # two of 8 s, of which 1 s is gone
    assert running.left(21.0, 30.0) == (9.0, "≈")
    assert running.left(21.0, 20.0) == (15.0, "≤")  # longer than usual
    assert running.left(99.0, 20.0) == (0.0, "≤")
    tell(one, 1, 0.9)  # it began again
    running.look(30.0)
    assert (running.epoch, running.mae) == (1, 0.9)
    unknown = Running(job(tmp_path, "b", epochs=None), now=0.0)
    assert unknown.left(1.0, None) is None


def test_what_was_done_or_failed_before_is_not_waited_for(tmp_path: Path) -> None:
    first = job(tmp_path, "a")
    jobs = [Job("d", first.folder, True, False), Job("f", first.folder, False, True)]
    target = Console(file=io.StringIO(), width=80)
    with Display(jobs, target=target) as display:
        assert display.count == 0
    assert told(target) == "1 trainings are done already\n"
    assert Display(jobs, retry_failed=True, target=target).count == 1
