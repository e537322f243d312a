"""The command in a process of its own that need not load the libraries first.

A server loads them once, and each command is a fork of it: a real process with its own signals,
limits and end, a hundredth of a second after it was asked for instead of seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, NamedTuple

import pytest

from mmsa_suparc.bench import execute, live_report

_context = get_context("forkserver")
_context.set_forkserver_preload(
    ["mmsa_suparc.plugin", "mmsa_suparc.cli.run", "mmsa_suparc.cli.bench", "matplotlib.figure",
     "accelerate", "MMSA.run", "tests.helpers.command"]
)  # fmt: skip


class Cost(NamedTuple):
    """What a command took beyond the imports: processor seconds, and MiB at its peak."""

    seconds: float
    mebibytes: float


class Command:
    """A running ``mmsa``: as ``subprocess.Popen``, with its output in two files.

    Args:
        arguments: of the command.
        terminal: what it writes to instead of files: a terminal's path.
        largest_file: bytes that a file of its may have, a real limit; what it prints then goes
            through pipes, which have none.
        path: folders in which packages are looked for first.
        folder: where it runs; where this process is by default.
        encoding: what ``PYTHONIOENCODING`` would say.
        environment: instead of this process's.
        session: whether it is to have one of its own, as ``subprocess.Popen`` can start it.
    """

    def __init__(
        self,
        *arguments: object,
        terminal: str = "",
        largest_file: int | None = None,
        path: tuple[str, ...] = (),
        folder: Path | None = None,
        encoding: str = "utf-8",
        environment: Mapping[str, str] = os.environ,
        session: bool = False,
    ) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="command-"))
        self._outputs = tuple(terminal or str(self._folder / name) for name in ("out", "err"))
        self.cost = Cost(float("nan"), float("nan"))  # known once it has ended
        self._kept: list[str] = ["", ""]  # what was piped; all of it, at the end
        self._readers: list[threading.Thread] = []
        if largest_file is not None:
            for which, name in enumerate(self._outputs):
                os.mkfifo(name)
                self._readers.append(threading.Thread(target=self._read_pipe, args=(which, name)))
                self._readers[-1].start()
        self._process: BaseProcess = _context.Process(
            target=_run,
            args=([str(word) for word in arguments], self._outputs, dict(environment),
                  str(folder or os.getcwd()), largest_file, path,
                  str(self._folder / "cost"), encoding, session),
        )  # fmt: skip
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *error: object) -> None:
        if self.poll() is None:
            self.kill()
        self._process.join()
        for reader in self._readers:
            reader.join()
        self._kept = [self.out, self.err]
        with contextlib.suppress(FileNotFoundError):
            self.cost = Cost(*json.loads((self._folder / "cost").read_text()))
        shutil.rmtree(self._folder)

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status; ``subprocess.TimeoutExpired`` where it goes on."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("mmsa", timeout or 0.0)
        for reader in self._readers:
            reader.join()
        return self._process.exitcode

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    @property
    def out(self) -> str:
        """What it has printed so far."""
        return self._read(0)

    @property
    def err(self) -> str:
        return self._read(1)

    def _read(self, which: int) -> str:
        path = Path(self._outputs[which])
        return path.read_text() if path.is_file() else self._kept[which]

    def _read_pipe(self, which: int, name: str) -> None:
        self._kept[which] = Path(name).read_text()

    def until(self, words: str) -> None:
        """Wait until it has printed these words, or has ended."""
        while words not in self.out and self.poll() is None:
            time.sleep(0.02)


def mmsa_in_a_process(*arguments: object, **options: object) -> Command:
    """Run the command to its end."""
    with Command(*arguments, **options) as command:  # type: ignore[arg-type]
        command.wait()
    return command


class Started:
    """What a benchmark starts by ``subprocess.Popen``, a training or a report, as a command here.

    Several threads may ask for its end, as they may ask ``Popen``, but not ``multiprocessing``.
    """

    _lock = threading.Lock()

    def __init__(
        self, command: list[str], *, stdout: IO | int, env: dict[str, str], **_options: object
    ) -> None:
        # Its parent would be the server, not the benchmark, and it would end itself for that.
        kept = {name: value for name, value in env.items() if name != "MMSA_BENCH_PARENT"}
        log = "" if isinstance(stdout, int) else stdout.name
        with self._lock:
            self._command = Command(
                *command[3:], terminal=os.path.abspath(log) if log else "", environment=kept,
                session=True,
            )  # fmt: skip
        self.pid = self._command.pid
        self._ended = False

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def poll(self) -> int | None:
        with self._lock:
            return self._command.poll()

    def wait(self) -> int:
        while (status := self.poll()) is None:
            time.sleep(0.02)
        with self._lock:
            if not self._ended:
                self._command.__exit__()
                self._ended = True
        return status

    def communicate(self) -> tuple[str, str]:
        self.wait()
        return "", self._command.err

    def terminate(self) -> None:
        self._command.send_signal(signal.SIGTERM)


def as_forks(patch: pytest.MonkeyPatch) -> None:
    """Let what a benchmark of this process starts be forks of a server: no libraries to load."""

    def started(command: list[str], **options: Any) -> Started | subprocess.Popen:
        ours = command[:3] == [sys.executable, "-m", "mmsa_suparc"]
        return Started(command, **options) if ours else subprocess.Popen(command, **options)

    forked = SimpleNamespace(**{**vars(subprocess), "Popen": started})
    for module in (execute, live_report):
        patch.setattr(module, "subprocess", forked)


def _run(
    arguments: list[str],
    outputs: tuple[str, str],
    environment: dict[str, str],
    folder: str,
    largest_file: int | None,
    path: tuple[str, ...],
    cost: str,
    encoding: str,
    session: bool,
) -> None:
    """In the new process: what a shell would have set up, then the command."""
    at_first = time.process_time(), _mebibytes_in_use()
    if session:
        os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for descriptor, name in zip((1, 2), outputs, strict=True):
        target = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(target, descriptor)
        os.close(target)
    sys.stdout = open(1, "w", encoding=encoding, closefd=False)  # noqa: SIM115
    sys.stderr = open(  # noqa: SIM115
        2, "w", encoding=encoding, closefd=False, buffering=1, errors="backslashreplace"
    )
    sys.argv = ["mmsa", *arguments]
    sys.path[:0] = path
    if largest_file is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    from mmsa_suparc.cli import main

    try:
        status = main(arguments)
    except SystemExit as end:
        status = int(end.code or 0)
    sys.stdout.flush()
    sys.stderr.flush()
    # Before this process began, its peak was what the server holds.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    now = time.process_time(), peak
    if largest_file is None:
        Path(cost).write_text(json.dumps([b - a for a, b in zip(at_first, now, strict=True)]))
    os._exit(status)


def _mebibytes_in_use() -> float:
    """Of this process, as Linux tells it."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20
