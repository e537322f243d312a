"""A benchmark's report while its trainings run: made anew of what is finished, at low priority.

Each report is a process of its own, ``mmsa bench report DIR``, so that it takes no time of the one
that starts the trainings, and one that fails disturbs nobody.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from mmsa_suparc.bench.execute import Outcome, environment, stopping
from mmsa_suparc.errors import StoppedError, in_a_line

#: After a report there is none for so many times as long as it took: one core spends at most an
#: eleventh of its time on them.
PAUSE = 10
#: What is added to its processes' niceness: where trainings take all cores, it waits for them.
NICENESS = 5
#: Exit statuses of a process that was asked to end, before and after it could answer.
GIVEN_UP = (-signal.SIGTERM, 128 + signal.SIGTERM)


class LiveReport:
    """Keeps ``DIR``'s report up to date; a context manager around the trainings.

    When they have ended by themselves a report that is being made is given up, as the whole one
    follows. When something stops them the last one is waited for; a second signal gives it up.

    Args:
        out: the benchmark's folder, which keeps its plan.
        behind: whether something is finished there already.
        with_reported: as ``--reference``.
        say: told in a line what else there is to know.
    """

    def __init__(
        self,
        out: Path,
        *,
        behind: bool,
        with_reported: bool = False,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        options = ["--reference"] if with_reported else []
        self._command = [
            sys.executable, "-m", "mmsa_suparc", "bench", "report", str(out.absolute()), *options,
            "-v", "0",
        ]  # fmt: skip
        self._behind, self._say = behind, say
        self._wanted, self._over = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen | None = None
        self._said = ""
        self._closed = False
        self._thread = threading.Thread(target=self._keep_up, daemon=True)

    def ended(self, outcome: Outcome) -> None:
        """A training has ended: what a grid's ``on_end`` calls."""
        self._behind = True
        self._wanted.set()

    def __enter__(self) -> LiveReport:
        if self._behind:
            self._wanted.set()
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self._over.set()
        self._wanted.set()
        if error is not None:
            with contextlib.suppress(KeyboardInterrupt, StoppedError), stopping():
                self._finish()
        self._give_up(for_good=True)
        self._thread.join()

    def _keep_up(self) -> None:
        """In the thread: a report when one is wanted and the pause is over."""
        due = 0.0
        while self._wanted.wait() and not self._over.wait(max(0.0, due - time.monotonic())):
            self._wanted.clear()
            started = time.monotonic()
            self._make()
            now = time.monotonic()
            due = now + PAUSE * (now - started)

    def _finish(self) -> None:
        """Wait for a report that has everything."""
        if self._behind:
            self._say("writing the report of what is finished; once more to leave it")
            self._give_up()  # what is being made lacks something
        self._thread.join()
        if self._behind:
            self._make()

    def _make(self) -> None:
        """One report, from start to end."""
        try:
            process = self._started()
        except OSError as error:
            self._failed(in_a_line(error))
            return
        if process is None:
            return
        lines = process.communicate()[1].splitlines()
        if process.returncode != 0:
            status = process.returncode
            said = lines[-1] if lines else f"exit status {status}"
            self._failed("" if status in GIVEN_UP else said)

    def _started(self) -> subprocess.Popen | None:
        """Its process; None where there is to be none any more."""
        with self._lock:  # one that starts now is either given up below or never started
            if self._closed:
                return None
            self._behind = False
            process = self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE, text=True, errors="replace", env=environment(1, ""),
                start_new_session=True,
            )  # fmt: skip
            with contextlib.suppress(OSError):
                if not self._over.is_set():  # else no training is left to be disturbed
                    os.setpriority(os.PRIO_PROCESS, process.pid, NICENESS)
        return process

    def _failed(self, why: str) -> None:
        """There is none; the same reason is told once."""
        self._behind = True
        if why and why != self._said:
            self._said = why
            self._say(f"no report for now: {why}")

    def _give_up(self, *, for_good: bool = False) -> None:
        """End the one that is being made; no other is started afterwards if it is for good."""
        with self._lock:
            self._closed |= for_good
            process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            process.wait()
