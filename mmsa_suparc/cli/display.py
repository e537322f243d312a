"""What ``mmsa bench`` shows while trainings run: a live table on a terminal, else lines."""

from __future__ import annotations

import statistics
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mmsa_suparc.bench.execute import Job, Outcome, known_seconds
from mmsa_suparc.cli.console import console
from mmsa_suparc.progress import span

#: Seconds between two looks into the logs of the trainings; with many of them, longer.
LOOK, LOGS_A_SECOND = 1.0, 20
#: Lines of the terminal that are left to what stands above the table, and to its own head.
MARGIN = 8


class Running:
    """A training that runs now: what its log tells, and how long it may still take."""

    def __init__(self, job: Job, now: float) -> None:
        self.job, self.started = job, now
        spec = job.folder.read_spec()
        self.model = str(spec["cell"]["model"])
        self.most: int | None = spec["identity"]["values"].get("epochs")
        self.mae: float | None = None
        self._before = job.folder.log_size()  # of earlier starts
        self._sights: list[tuple[int, float]] = []  # an epoch, and when it was first seen

    @property
    def epoch(self) -> int:
        """The last one that is over."""
        return self._sights[-1][0] if self._sights else 0

    def look(self, now: float) -> None:
        """Read its log."""
        found = self.job.folder.last_epoch(self._before)
        if found is None or found[0] == self.epoch:
            return
        if found[0] < self.epoch:  # it began again
            self._sights.clear()
        self._sights.append((found[0], now))
        self.mae = found[1]

    def left(self, now: float, usual: float | None) -> tuple[float, str] | None:
        """Seconds that it may still take, and a sign before them: ``≈``, or ``≤`` where only its
        epochs are known, of which it need not train all.

        Args:
            now: on the clock of ``started``.
            usual: seconds of a finished training of its model.
        """
        by_model = None if usual is None else usual - (now - self.started)
        by_epochs = self._by_epochs(now)
        if by_model is not None and by_model > 0 and not (by_epochs and by_epochs < by_model):
            return by_model, "≈"
        return None if by_epochs is None else (by_epochs, "≤")

    def _by_epochs(self, now: float) -> float | None:
        seconds = self._seconds_an_epoch()
        if self.most is None or seconds is None:
            return None
        return max(seconds * (self.most - self.epoch) - (now - self._sights[-1][1]), 0.0)

    def _seconds_an_epoch(self) -> float | None:
        """None before it can be told: epochs that a state gave back took no time."""
        if not self._sights:
            return None
        (first, then), (last, now) = self._sights[0], self._sights[-1]
        if last > first:
            return (now - then) / (last - first)
        return now - self.started if last == 1 else None


class Display:
    """A line a finished training; on a terminal also a live table of those that run.

    Args:
        jobs: all trainings.
        verbose: 0 shows nothing.
        retry_failed: whether those that failed before are run again.
        target: where to; standard output by default.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        verbose: int = 1,
        *,
        retry_failed: bool = False,
        target: Console | None = None,
    ) -> None:
        self.waiting = {
            job.folder: job for job in jobs if not job.done and (retry_failed or not job.failed)
        }
        self.count = len(self.waiting)
        self.kept = sum(job.done for job in jobs)
        self.verbose = verbose
        self.target = target or console()
        self.ended = self.failed = 0
        self.started = time.monotonic()
        self._running: dict[Any, Running] = {}
        self._models: dict[Any, str] = {}
        self._seconds = {model: [seconds] for model, seconds in known_seconds(jobs).items()}
        self._looked = 0.0
        self._lock = threading.RLock()
        on_terminal = self.target.is_terminal and not self.target.is_dumb_terminal
        self._live: Live | None = None
        if verbose and on_terminal:
            self._live = Live(
                console=self.target, get_renderable=self.shown, refresh_per_second=2, transient=True
            )

    def __enter__(self) -> Display:
        if self.kept:
            self.say(f"{self.kept} trainings are done already")
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, line: str) -> None:
        """What else there is to know: a line, however long."""
        if self.verbose:
            self.target.print(Text(line), soft_wrap=True)
            sys.stdout.flush()  # to a log file, too

    note = say

    def start(self, job: Job) -> None:
        """A training begins, or goes on."""
        with self._lock:
            self.waiting.pop(job.folder, None)
            self._running[job.folder] = Running(job, time.monotonic())

    def end(self, outcome: Outcome) -> None:
        """A training has ended."""
        with self._lock:
            self.waiting.pop(outcome.job.folder, None)
            running = self._running.pop(outcome.job.folder, None)
            self.ended += 1
            self.failed += not outcome.ok
            if running is not None and outcome.ok:
                self._seconds.setdefault(running.model, []).append(outcome.seconds)
            left = self.left()
        word = "done" if outcome.ok else f"FAILED ({outcome.status})"
        line = f"[{self.ended}/{self.count}] {outcome.job.name}: {word} in {outcome.seconds:.0f} s"
        if self._live is None and left:
            line += f"; about {span(left)} left"
        self.say(line)

    def left(self) -> float | None:
        """Seconds until all is done, at as many a time as run now; none while nobody knows."""
        now = time.monotonic()
        left, expected = [], {model: statistics.fmean(s) for model, s in self._seconds.items()}
        for one in self._running.values():
            found = one.left(now, self._usual(one.model))
            if found is None:
                return None
            left.append(found[0])
            expected.setdefault(one.model, now - one.started + found[0])
        if self.waiting and not expected:
            return None
        other = statistics.fmean(expected.values()) if expected else 0.0
        queue = sum(expected.get(self._model_of(job), other) for job in self.waiting.values())
        return max((sum(left) + queue) / max(len(left), 1), *left, 0.0)

    def shown(self) -> RenderableType:
        """The table of what runs, and a line of the whole."""
        now = time.monotonic()
        with self._lock:
            rows = list(self._running.values())
            if now - self._looked > max(LOOK, len(rows) / LOGS_A_SECOND):
                self._looked = now
                for one in rows:
                    one.look(now)
            table = Table(box=None, padding=(0, 2, 0, 0))
            table.add_column("training", overflow="ellipsis", no_wrap=True)
            for head in ("epoch", "valid MAE", "runs for", "left"):
                table.add_column(head, justify="right", no_wrap=True)
            room = max(self.target.height - MARGIN, 1)
            for one in rows[:room]:
                table.add_row(*self._row(one, now))
            parts: list[RenderableType] = [table] if rows else []
            if len(rows) > room:
                parts.append(Text(f"… and {len(rows) - room} more"))
            return Group(*parts, self._summary(now))

    def _row(self, one: Running, now: float) -> list[Text]:
        left = one.left(now, self._usual(one.model))
        return [
            Text(one.job.name),
            Text(f"{one.epoch or '–'}{f'/{one.most}' if one.most else ''}"),
            Text("–" if one.mae is None else f"{one.mae:.4f}"),
            Text(span(now - one.started)),
            Text("–" if left is None else f"{left[1]} {span(left[0])}" if left[0] >= 1 else "soon"),
        ]

    def _summary(self, now: float) -> Text:
        line = Text(f"{self.ended}/{self.count} ended")
        if self.failed:
            line.append(f", {self.failed} failed", style="red")
        line.append(f", {len(self._running)} running, {len(self.waiting)} waiting; ")
        line.append(f"{span(now - self.started)} so far")
        left = self.left()
        return (
            line
            if left is None or left < 1
            else line.append(f", about {span(left)} left", style="bold")
        )

    def _usual(self, model: str) -> float | None:
        return statistics.fmean(self._seconds[model]) if model in self._seconds else None

    def _model_of(self, job: Job) -> str:
        if job.folder not in self._models:
            self._models[job.folder] = str(job.folder.read_spec()["cell"]["model"])
        return self._models[job.folder]
