"""Progress bars: on stdout while it is a terminal, in the main process; silent otherwise."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any

#: What bars say of the whole, beside their own part of it: ``run ≤ 12 min``.
outlook: ContextVar[str] = ContextVar("outlook", default="")


def progress(
    iterable: Iterable[Any] | None, label: str | None = None, total: int | None = None
) -> Any:
    """The iterable with a bar that disappears when it is done; also a context manager."""
    from tqdm import tqdm

    silent = not sys.stdout.isatty() or os.environ.get("RANK", "0") != "0"
    told = ", ".join(filter(None, (label, outlook.get())))
    return tqdm(iterable, told or None, total, leave=False, file=sys.stdout, disable=silent)


def span(seconds: float) -> str:
    """A length of time as one says it: ``40 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
