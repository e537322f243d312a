"""Files that are either whole or absent."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from mmsa_suparc.errors import DiskError


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write beside ``path``, then rename: a reader sees the old file or the new one.

    Who may read it is what the umask says, as for a file that is opened and written.

    Raises:
        DiskError: the old file, if any, is untouched, and no temporary file is left.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise DiskError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def try_writing(folder: Path) -> None:
    """Make a folder and write into it, so that what cannot be written is known before hours of
    work. Nothing of it stays.

    Raises:
        DiskError: why not.
    """
    if folder.exists() and not folder.is_dir():
        raise DiskError(f"cannot write {folder}: is a file; expected a folder")
    absent = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"0")
    except OSError as error:
        raise DiskError(f"cannot write {folder}: {error.strerror or error}") from None
    finally:
        for one in absent:
            with contextlib.suppress(OSError):
                one.rmdir()


def write_text(path: Path, text: str) -> None:
    """UTF-8 text, whole or not at all."""
    write_atomically(path, lambda file: file.write(text.encode()))


def sha256(path: Path, *, start: int = 0) -> str:
    """The checksum of a file, from a place in it on; never more than a mebibyte in memory."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(start)
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
