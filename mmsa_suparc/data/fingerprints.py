"""What a file or a folder holds, as a short name: a change anywhere in it gives another.

A large file is read once in its life: what it was found to hold is kept in the cache folder, under
its path, size, modification time and inode.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable
from pathlib import Path

from mmsa_suparc.data.cache import cache_folder, file_identity, key_of
from mmsa_suparc.data.files import sha256, write_text
from mmsa_suparc.errors import DiskError

LENGTH = 20
#: Bytes from which on it is worth while to remember what a file holds.
LARGE = 1 << 20


def of_file(path: Path) -> str:
    """Of all bytes of a file."""
    if path.stat().st_size < LARGE:
        return sha256(path)[:LENGTH]
    identity = file_identity(path)
    kept = None
    with contextlib.suppress(DiskError):  # without a cache it is read each time
        kept = cache_folder("fingerprints") / key_of(path.resolve())
    if kept is not None:
        with contextlib.suppress(OSError, ValueError):
            known, found = kept.read_text(encoding="utf-8").rsplit("\n", 1)
            if known == identity and len(found) == LENGTH:
                return found
    found = sha256(path)[:LENGTH]
    if kept is not None:
        with contextlib.suppress(DiskError):
            write_text(kept, f"{identity}\n{found}")
    return found


def of_folder(folder: Path) -> str:
    """Of the names and the bytes of all files below a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(folder)}\n{of_file(path)}\n".encode())
    return digest.hexdigest()[:LENGTH]


def of_code(parts: Iterable[str] = ()) -> str:
    """Of this package's own source files, or of some files and folders of it."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        place = path.relative_to(package)
        if not parts or place.parts[0] in parts:
            digest.update(f"{place.as_posix()}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:LENGTH]
