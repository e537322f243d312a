"""Progress bars: on stdout while it is a terminal, in the main process; silent otherwise."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any


def progress(
    iterable: Iterable[Any] | None, label: str | None = None, total: int | None = None
) -> Any:
    """The iterable with a bar that disappears when it is done; also a context manager."""
    from tqdm import tqdm

    silent = not sys.stdout.isatty() or os.environ.get("RANK", "0") != "0"
    return tqdm(iterable, label, total, leave=False, file=sys.stdout, disable=silent)
