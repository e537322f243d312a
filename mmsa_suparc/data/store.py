"""Results as an append-only file of JSON lines: facts, of which tables are views."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import AcquireReturnProxy, FileLock, Timeout

from mmsa_suparc.data.files import write_text
from mmsa_suparc.errors import DiskError, InUseError, UserError
from mmsa_suparc.plain_files import read_bytes

Record = dict[str, Any]
#: Bytes of a file of records: some thousand of them.
LARGEST = 4 << 20
logger = logging.getLogger("mmsa_suparc")


@contextlib.contextmanager
def locked(path: Path, *, patience: float = 60.0) -> Iterator[None]:
    """Hold ``<path>.lock``; the system releases it if the holder dies.

    Raises:
        DiskError: it could not be had in time, or cannot be made.
    """
    lock = path.with_name(path.name + ".lock")
    try:
        held = _acquire(lock, patience)
    except Timeout:
        raise DiskError(f"{lock} is held by another process for over {patience:.0f} s") from None
    with held:
        yield


@contextlib.contextmanager
def owned(folder: Path, what: str) -> Iterator[None]:
    """Own a folder for the length of a run: ``.lock`` is held, ``.owner`` says by whom.

    Args:
        folder: made if absent.
        what: told to whoever else wants it: process and command.

    Raises:
        InUseError: another living process owns it; names it.
    """
    owner = folder / ".owner"
    try:
        held = _acquire(folder / ".lock", 0.0)
    except Timeout:
        holder = "another process"
        with contextlib.suppress(OSError):  # which has not said yet who it is
            holder = owner.read_text(encoding="utf-8", errors="replace").strip() or holder
        raise InUseError(
            f"{folder} is in use by {holder}; choose another --run-dir or wait"
        ) from None
    with held:
        write_text(owner, what)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                owner.unlink()


def _acquire(lock: Path, patience: float) -> AcquireReturnProxy:
    """The lock, held until the block of what is returned ends.

    Raises:
        Timeout: another process holds it.
        DiskError: it cannot be made.
    """
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(lock).acquire(timeout=patience, poll_interval=0.02)
    except Timeout:
        raise
    except OSError as error:
        raise DiskError(f"cannot write {lock}: {error.strerror}") from None


def append(path: Path, record: Mapping[str, Any]) -> None:
    """Add a record, on disk when this returns.

    A line that a killed process left torn at the end is cut off first.

    Raises:
        DiskError: the records before it are untouched.
    """
    line = json.dumps(dict(record), ensure_ascii=False, default=str).encode() + b"\n"
    with locked(path):
        try:
            with open(path, "a+b", buffering=0) as file:
                whole = _end_of_last_line(file)
                file.truncate(whole)
                try:
                    written = 0
                    while written < len(line):
                        written += file.write(line[written:])
                    os.fsync(file.fileno())
                except OSError:
                    with contextlib.suppress(OSError):
                        file.truncate(whole)
                    raise
        except OSError as error:
            raise DiskError(f"cannot write {path}: {error.strerror or error}") from None


def _end_of_last_line(file: Any) -> int:
    file.seek(0)
    content: bytes = file.read()
    return content.rfind(b"\n") + 1


def read(path: Path) -> list[Record]:
    """All records; see :func:`each`."""
    return list(each(path))


def each(path: Path) -> Iterator[Record]:
    """The records one by one, so that who refuses one need not wait for the others.

    A torn last line is left out; a torn one before it is an error.

    Raises:
        UserError: names the line that is no record.
    """
    if not path.exists():
        return
    *lines, rest = read_bytes(path, largest=LARGEST).split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            if not isinstance(record, dict):
                raise ValueError
        except (ValueError, RecursionError):
            raise UserError(
                f"{path}, line {number}: no record; remove the line, or restore the file"
            ) from None
        yield record
    if rest:
        logger.warning("%s: its last line is torn and left out", path)
