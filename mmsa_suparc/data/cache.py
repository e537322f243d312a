"""Where things that can be made again are kept, and who makes them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout
from platformdirs import user_cache_path

from mmsa_suparc.errors import DiskError

#: How what is still being made begins, by room of the cache; its key follows.
UNFINISHED = {"features": ".new.", "text": ".", "inputs": ".new.", "cells": "."}
KEY_LENGTH = 20


class CancelledError(Exception):
    """Nobody waits for the entry any more."""


def cache_folder(*parts: str) -> Path:
    """``$MMSA_SUPARC_CACHE``, or ``mmsa-suparc`` in the user's cache folder; made if absent."""
    configured = os.environ.get("MMSA_SUPARC_CACHE")
    folder = Path(configured) if configured else user_cache_path("mmsa-suparc", appauthor=False)
    folder = folder.joinpath(*parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DiskError(
            f"cache folder {folder}: {error.strerror}; set MMSA_SUPARC_CACHE to a writable one"
        ) from None
    return folder


def key_of(*parts: object) -> str:
    """A short name for a combination of values."""
    text = "\x1f".join(str(part) for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def file_identity(path: Path) -> str:
    """Path, size, modification time and inode: changes when the file does."""
    status = path.stat()
    return f"{path.resolve()}:{status.st_size}:{status.st_mtime_ns}:{status.st_ino}"


@contextlib.contextmanager
def one_maker(key: str, *, cancelled: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Within this block no other process, and no other thread, makes the entry of this key: they
    wait until it is there or its maker is dead.

    Raises:
        CancelledError: while waiting.
        DiskError: the lock cannot be made.
    """
    lock = _lock_of(key)
    while not _was_had(lock, patience=0.5):
        if cancelled():
            raise CancelledError
    try:
        yield
    finally:
        lock.release()


def _lock_of(key: str) -> BaseFileLock:
    """Its file stays: removing a lock file lets two processes hold it."""
    return FileLock(cache_folder("locks") / f"{key}.lock")


def _was_had(lock: BaseFileLock, *, patience: float) -> bool:
    try:
        lock.acquire(timeout=patience, poll_interval=0.02)
    except Timeout:
        return False
    except OSError as error:
        raise DiskError(f"cannot write {lock.lock_file}: {error.strerror or error}") from None
    return True


@dataclass(frozen=True)
class Unfinished:
    """An entry that is being made, or that a killed process left; such a one is removed."""

    path: Path
    bytes: int
    removed: bool


def sweep() -> list[Unfinished]:
    """Remove what killed processes left half made.

    Returns:
        Everything that is half made, with what is still worked at.
    """
    found = [
        _sweep(path, path.name.removeprefix(prefix)[:KEY_LENGTH])
        for room, prefix in UNFINISHED.items()
        for path in sorted(cache_folder(room).glob(f"{prefix}*"))
    ]
    return [each for each in found if each is not None]


def _sweep(path: Path, key: str) -> Unfinished | None:
    size = size_of(path)
    lock = _lock_of(key)
    try:
        if not _was_had(lock, patience=0.0):
            return Unfinished(path, size, removed=False)
    except DiskError:  # another user's
        return Unfinished(path, size, removed=False)
    try:
        if not path.exists():  # it was finished meanwhile
            return None
        remove(path)
    finally:
        lock.release()
    return Unfinished(path, size, removed=not path.exists())


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files of a folder, as far as they are still there."""
    size = 0
    for file in path.rglob("*") if path.is_dir() else [path]:
        with contextlib.suppress(OSError):
            size += file.stat().st_size
    return size


def remove(path: Path) -> None:
    """A file or a folder, where it is there and may be removed."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
