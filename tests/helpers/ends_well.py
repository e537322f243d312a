"""Whether the command ends as promised when what it is given is hostile."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.helpers.command import Command
from tests.helpers.patience import patience

#: What a refusal may cost beyond the imports, on any machine.
SECONDS, MEBIBYTES = 2.0, 200.0


def ends_well(argv: Sequence[object], cwd: Path, status: int = 2) -> str:
    """Run ``mmsa`` in a process of its own; the one line by which it ended.

    The process is a fork of one that has loaded the libraries, so what is measured is what the
    arguments and the files cost: the processor time of the process, user and system, of all its
    threads, and the largest memory that it had at any time less what it began with (both of the
    process alone, as Linux counts them). Where it waits for something instead of working, the
    clock on the wall tells, with patience for a busy machine.

    Args:
        argv: the command's arguments.
        cwd: where it runs.
        status: how it has to end.

    Raises:
        AssertionError: another status, none or several lines on standard error, a traceback, or
            more than 2 s or 200 MiB.
    """
    shown = [str(word)[:60] for word in argv]
    with Command(*argv, folder=cwd) as command:
        try:
            command.wait(patience(SECONDS))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{shown} goes on: {command.out}{command.err}") from None
    lines = command.err.splitlines()
    assert command.returncode == status, f"{shown}: {command.returncode}: {command.err[-2000:]}"
    assert len(lines) == 1, f"{shown}: {len(lines)} lines: {command.err[-2000:]}"
    assert lines[0].startswith("mmsa: "), f"{shown}: {lines[0]}"
    assert "Traceback" not in command.out, f"{shown}: {command.out}"
    assert command.cost.seconds <= SECONDS, f"{shown}: {command.cost}"
    assert command.cost.mebibytes <= MEBIBYTES, f"{shown}: {command.cost}"
    return lines[0]
