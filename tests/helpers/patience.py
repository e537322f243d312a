"""How long to wait for what never ends when it is broken, on any machine."""

from __future__ import annotations

import os
import time
from functools import cache

import numpy as np

#: Seconds that the reference computation takes on one quiet core of a server of 2024.
REFERENCE = 0.05


@cache
def _slowness() -> float:
    """How much slower this machine is now, at least 1: by a computation, and by who else works."""
    matrix = np.ones((300, 300))
    started = time.perf_counter()
    for _ in range(40):
        matrix = matrix @ matrix * 0.0 + 1.0
    alone = (time.perf_counter() - started) / REFERENCE
    others = os.getloadavg()[0] / (os.cpu_count() or 1)
    return max(1.0, alone, others)


def patience(seconds: float) -> float:
    """A limit for what takes at most ``seconds`` on a quiet machine: five times that, and more on
    a slow or busy one."""
    return 5.0 * seconds * _slowness()
