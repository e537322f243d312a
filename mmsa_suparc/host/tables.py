"""Tables that several processes may append to."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from mmsa_suparc.data.files import write_text
from mmsa_suparc.errors import DiskError


@contextlib.contextmanager
def locked(path: Path, *, patience: float = 60.0) -> Iterator[None]:
    """Hold ``<path>.lock``; the system releases it if the holder dies.

    Raises:
        DiskError: it could not be had in time, or cannot be made.
    """
    lock = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise DiskError(f"cannot write {lock}: {error.strerror}") from None
    try:
        deadline = time.monotonic() + patience
        while not _try_lock(handle):
            if time.monotonic() > deadline:
                raise DiskError(f"{lock} is held by another process for over {patience:.0f} s")
            time.sleep(0.05)
        yield
    finally:
        os.close(handle)


def _try_lock(handle: int) -> bool:
    try:
        import fcntl
    except ImportError:  # no such locks on this system: the rename below still keeps rows whole
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


#: A cell that a spreadsheet would take for a formula. An id that only begins with '-', as
#: names of videos do, is none.
_FORMULA = re.compile(r"[=+@\t\r]|-.*[^\w$.:-]", flags=re.DOTALL)


def plain_cell(text: str) -> str:
    """Text that no spreadsheet evaluates: a formula gets an apostrophe before it."""
    return f"'{text}" if _FORMULA.match(text) else text


def append_rows(path: Path, rows: pd.DataFrame) -> None:
    """Add rows to a CSV file under a lock; new columns are added, absent values left blank.

    Raises:
        DiskError: the file is as it was.
    """
    with locked(path):
        try:
            if path.is_file() and path.stat().st_size:
                before = pd.read_csv(path, dtype=str, keep_default_na=False)
                rows = pd.concat([before, rows.astype(str).where(rows.notna(), "")])
        except OSError as error:
            raise DiskError(f"cannot read {path}: {error.strerror}") from None
        write_text(path, rows.to_csv(index=False))
