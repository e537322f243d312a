"""What the command prints: epoch lines, tables, all within 80 columns."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from mmsa_suparc.names import METRICS

MOST_SEED_COLUMNS = 4
#: Characters of the longest line that a table may have.
WIDEST = 10_000


def console() -> Console:
    """Standard output; 80 columns where it is no terminal."""
    return Console(highlight=False, soft_wrap=False, width=None if sys.stdout.isatty() else 80)


def print_whole(table: Table) -> None:
    """A table in which every value stays on one line, so that a path can be copied.

    What does not fit between lines drawn around it is printed without them, and goes on beyond
    the edge.
    """
    target = console()
    for column in table.columns:
        column.no_wrap, column.overflow = True, "ignore"
    width = Measurement.get(target, target.options.update(max_width=WIDEST), table).maximum
    if width <= target.width:
        target.print(table)
        return
    table.box = None
    wide = Console(highlight=False, width=WIDEST, color_system=None)
    with wide.capture() as captured:
        wide.print(table)
    for line in captured.get().splitlines():
        print(line.rstrip())


class EpochLines:
    """One line an epoch: losses, validation metrics, time; ``*`` marks a new best.

    Args:
        epochs: the most that there can be, if known.
        key: the validation metric that chooses the epoch; named, the mark is explained.
    """

    def __init__(self, epochs: int | None, key: str | None = None) -> None:
        self.epochs, self.key = epochs, key
        self._columns: list[tuple[str, str]] = []
        self._last = self._best = 0

    def __call__(self, row: Mapping[str, Any]) -> None:
        if not self._columns:
            self._columns = list(self._choose(row))
            head = "".join(f" {label:>7}" for _, label in self._columns)
            if self.key is not None:
                best = f"the best epoch so far by validation {self.key}"
                print(f"*: {best}; the last one's model is kept")
            print(f"{'epoch':>7}{head}{'time':>9}", flush=True)
        of = f"/{self.epochs}" if self.epochs else ""
        numbers = "".join(f" {row[key]:{max(7, len(name))}.4f}" for key, name in self._columns)
        seconds = row["train_seconds"] + row["valid_seconds"]
        mark = " *" if row.get("best") else ""
        print(f"{row['epoch']:>{7 - len(of)}}{of}{numbers}{seconds:7.1f} s{mark}", flush=True)
        self._last = row["epoch"]
        self._best = self._last if mark else self._best

    def end(self, early_stop: object) -> None:
        """The training is over: why, where epochs were left; said once.

        Args:
            early_stop: its value in the configuration.
        """
        if 0 < self._last != self.epochs:
            why = f"none was better than epoch {self._best} (early_stop = {early_stop})"
            print(f"ended after epoch {self._last}: {why}", flush=True)
        self._last = 0

    @staticmethod
    def _choose(row: Mapping[str, Any]) -> list[tuple[str, str]]:
        terms = [key for key in row if key.startswith("loss_")]
        # More than four columns do not fit into 80 characters; the total says the least.
        losses = ["loss", *terms] if len(terms) < 4 and "loss" in row else terms[:4]
        metrics = [f"valid_{name}" for name in ("MAE", "Corr") if f"valid_{name}" in row]
        accuracy = next((key for key in row if key.startswith(("valid_Non0", "valid_Mult"))), None)
        chosen = [(key, key.removeprefix("loss_")) for key in losses]
        chosen += [(key, "val " + key.removeprefix("valid_")) for key in metrics]
        return chosen + ([(accuracy, "val Acc2")] if accuracy else [])


class RunClock:
    """How long a run may still take: at most, since a training may end before its last epoch.

    Args:
        seeds: trainings in all.
        epochs: the most of a training, if known.
    """

    def __init__(self, seeds: int, epochs: int | None) -> None:
        self.seeds, self.epochs = seeds, epochs
        self._counts: list[int] = []  # epochs of each training so far
        self._seconds: list[float] = []  # of each epoch

    def seed(self) -> None:
        """A training begins."""
        self._counts.append(0)

    def epoch(self, row: Mapping[str, Any]) -> None:
        """An epoch is over."""
        self._counts[-1] += 1
        self._seconds.append(row["train_seconds"] + row["valid_seconds"])

    def left(self) -> float | None:
        """Seconds; none before the first epoch, or where nobody knows how many there are."""
        ended = [count for count in self._counts[:-1] if count]
        most = self.epochs or max(ended, default=0)
        if not self._seconds or not most:
            return None
        usual = statistics.fmean(ended) if ended else most
        epochs = max(most - self._counts[-1], 0) + usual * (self.seeds - len(self._counts))
        return epochs * statistics.fmean(self._seconds)


def results_table(title: str, results: Sequence[tuple[int, Mapping[str, float]]]) -> Table:
    """Test metrics, a row each: raw values a seed, then mean and standard deviation."""
    table = Table(title=title, title_justify="left")
    table.add_column("test metric")
    shown = results if len(results) <= MOST_SEED_COLUMNS else []
    for seed, _ in shown:
        table.add_column(f"seed {seed}", justify="right")
    several = len(results) > 1
    if several:
        table.add_column(f"mean ± sd ({len(results)} seeds)", justify="right")
    for name in results[0][1]:
        values = [metrics[name] for _, metrics in results]
        arrow = "" if name not in METRICS else "↓" if METRICS[name].better == "lower" else "↑"
        cells = [f"{value:.4f}" for value in values] if shown else []
        if several:
            cells.append(f"{statistics.fmean(values):.4f} ± {statistics.stdev(values):.4f}")
        table.add_row(f"{name} {arrow}", *cells)
    return table
