"""What the command prints: colours where they are wanted, paths whole, time left."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.table import Table

from mmsa_suparc.cli.console import EpochLines, RunClock, print_whole
from mmsa_suparc.data.demo import Demo
from mmsa_suparc.progress import span


def on_terminal(*arguments: str, **environment: str) -> str:
    """What the command writes to a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    variables = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "mmsa_suparc", *arguments],
        stdin=theirs, stdout=theirs, stderr=theirs,
        env={**variables, "TERM": "xterm", **environment},
    )  # fmt: skip
    os.close(theirs)
    content = b""
    try:
        while chunk := os.read(ours, 65536):
            content += chunk
    except OSError:  # how a terminal without a program ends on Linux
        pass
    os.close(ours)
    process.wait()
    return content.decode()


ERRORS = {
    "unknown data set": ("models", "-d", "nowhere"),
    "unknown option": ("models", "--nothing"),
}


@pytest.mark.parametrize("arguments", ERRORS.values(), ids=ERRORS)
def test_errors_are_red_on_a_terminal_unless_colours_are_unwanted(
    arguments: tuple[str, ...],
) -> None:
    assert on_terminal(*arguments).startswith("\x1b[31mmmsa: ")
    for plain in (
        on_terminal(*arguments, "--no-color"), on_terminal("--no-color", *arguments),
        on_terminal(*arguments, NO_COLOR="1"), on_terminal(*arguments, TERM="dumb"),
    ):  # fmt: skip
        assert plain.startswith("mmsa: ")
        assert "\x1b[3" not in plain


def test_no_color_is_of_one_command(mmsa: object, monkeypatch: pytest.MonkeyPatch) -> None:
    from mmsa_suparc.cli import main

    monkeypatch.setenv("NO_COLOR", "before")
    assert main(["datasets", "--no-color"]) == 0
    assert os.environ["NO_COLOR"] == "before"
    monkeypatch.delenv("NO_COLOR")
    assert main(["datasets", "--no-color"]) == 0
    assert "NO_COLOR" not in os.environ


def test_what_a_notebook_draws_with_is_not_the_commands_matter(tmp_path: Path) -> None:
    """A cell's ``!mmsa`` inherits MPLBACKEND, and what it names may not be there."""
    run = (
        "import os; from mmsa_suparc import cli; import mmsa_suparc.cli.doctor as verb;"
        "verb.handle = lambda options: __import__('matplotlib.figure') and 0;"
        "status = cli.main(['doctor']);"
        "raise SystemExit(status or os.environ['MPLBACKEND'] != 'nonsense')"
    )
    done = subprocess.run(
        [sys.executable, "-c", run], env={**os.environ, "MPLBACKEND": "nonsense"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_a_path_stays_on_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from mmsa_suparc.cli import main

    root = tmp_path / ("long-" * 20)
    assert main(["datasets", "--data-root", str(root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if str(root / "MOSI/Processed/unaligned_50.pkl") in line]
    assert main(["config", "show", "-m", "suparc", "-d", "mosi", "--data-root", str(root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "unaligned_50.pkl" in line]
    assert not [line for line in lines if line != line.rstrip()]


def test_a_table_that_fits_keeps_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table()
    table.add_column("a")
    table.add_row("b")
    print_whole(table)
    assert "┏" in capsys.readouterr().out
    table.add_row("c" * 100)
    print_whole(table)
    assert capsys.readouterr().out.splitlines()[-1].strip() == "c" * 100


def row(epoch: int, *, best: bool = False, seconds: float = 1.0) -> dict[str, float]:
    return {"epoch": epoch, "loss": 1.0, "valid_MAE": 1.0, "train_seconds": seconds,
            "valid_seconds": 0.0, "best": best}  # fmt: skip


def test_the_mark_of_the_best_epoch_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    lines = EpochLines(9, "Loss")
    lines(row(1, best=True))
    lines(row(2))
    said, _, first, second = capsys.readouterr().out.splitlines()
    assert said.startswith("*: the best epoch so far by validation Loss")
    assert len(said) <= 80
    assert (first[-1], second[-1]) == ("*", "s")
    EpochLines(9)(row(1))  # of the next seed: once is enough
    assert "*" not in capsys.readouterr().out


@pytest.mark.parametrize("epochs", [9, None])
def test_a_training_that_ends_early_says_why(
    epochs: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = EpochLines(epochs)
    lines.end(2)  # nothing trained, nothing said
    for epoch in (1, 2, 3):
        lines(row(epoch, best=epoch == 1))
    lines.end(2)
    lines.end(2)
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "ended after epoch 3: none was better than epoch 1 (early_stop = 2)"
    assert len(said) == 5
    whole = EpochLines(1)
    whole(row(1, best=True))
    whole.end(2)
    assert "early_stop" not in capsys.readouterr().out


def test_a_run_that_ends_early_says_so_of_each_seed(mmsa: Callable, demo: Demo) -> None:
    status, out, err = mmsa(
        "-m", "suparc", "-d", "demo", "-s", 1, "-s", 2, "--epochs", 9, "--set", "early_stop=1",
        *(word for part in ("text", "audio", "vision", "other")
          for word in ("--set", f"learning_rate_{part}=0")), "--run-dir", "run",
    )  # fmt: skip
    assert (status, err) == (0, "")
    assert out.count("ended after epoch 2: none was better than epoch 1 (early_stop = 1)") == 2


def test_the_time_left_of_a_run() -> None:
    clock = RunClock(3, 10)
    clock.seed()
    assert clock.left() is None
    clock.epoch(row(1, seconds=2.0))
    assert clock.left() == 2.0 * (9 + 20)
    for epoch in range(2, 5):  # it stops after four
        clock.epoch(row(epoch, seconds=2.0))
    clock.seed()
    clock.epoch(row(1, seconds=2.0))
    assert clock.left() == 2.0 * (9 + 4)
    unknown = RunClock(2, None)
    unknown.seed()
    unknown.epoch(row(1))
    assert unknown.left() is None


def test_spans() -> None:
    assert [span(n) for n in (0.4, 99, 100, 5_900, 12_000)] == [
        "0 s", "99 s", "2 min", "98 min", "3 h 20 min"
    ]  # fmt: skip


@pytest.mark.slow
def test_on_a_terminal_a_run_shows_its_loss_and_the_time_left(demo: object, tmp_path: Path) -> None:
    folders = ("--run-dir", str(tmp_path / "run"), "--res-save-dir", str(tmp_path / "table"))
    bars = on_terminal(
        "-m", "suparc", "-d", "demo", "-s", "1", "--epochs", "2", *folders, "--no-color"
    )
    assert "epoch 1/2:" in bars
    assert re.search(r"epoch 2/2, run ≤ \d+ s:.*loss \d\.\d{4}", bars)
