"""Progress bars: on stdout while it is a terminal, silent otherwise."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any


def progress(iterable: Iterable[Any], label: str | None = None, total: int | None = None) -> Any:
    """The iterable with a bar that disappears when it is done; also a context manager."""
    from tqdm import tqdm

    return tqdm(
        iterable, label, total, leave=False, file=sys.stdout, disable=not sys.stdout.isatty()
    )
