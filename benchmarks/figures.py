"""Figures of a measurement: medians, and a line of the table."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def median_seconds(*functions: Callable[[], object], repeats: int) -> list[float]:
    """Median time of each, taken in turn, in one order and in the other, after one call each that
    is not counted."""
    times: list[list[float]] = [[] for _ in functions]
    for round_number in range(repeats + 1):
        for place in in_turn(len(functions), round_number):
            started = time.perf_counter()
            functions[place]()
            if round_number:
                times[place].append(time.perf_counter() - started)
    return [statistics.median(each) for each in times]


def in_turn(count: int, round_number: int) -> range:
    """The order of a round: forwards, backwards, forwards …"""
    return range(count) if round_number % 2 == 0 else range(count - 1, -1, -1)


def row(name: str, shown: str, ratio: float, goal: str) -> str:
    line = f"| {name} | {shown} | {ratio:.2f} | {goal} |"
    print(line, flush=True)
    return line
