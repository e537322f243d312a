"""Where things that can be made again are kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from platformdirs import user_cache_path

from mmsa_suparc.errors import DiskError


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
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def fingerprint(path: Path) -> str:
    """A file's size and a checksum of its first and last mebibyte: fast, whatever its size."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        digest.update(file.read(1 << 20))
        file.seek(max(0, size - (1 << 20)))
        digest.update(file.read())
    return digest.hexdigest()[:20]


def code_fingerprint(parts: Iterable[str] = ()) -> str:
    """A checksum of this package's own source files, or of some files and folders of it."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        if not parts or path.relative_to(package).parts[0] in parts:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:20]


def file_identity(path: Path) -> str:
    """Path, size and modification time: changes when the file does."""
    status = path.stat()
    return f"{path.resolve()}:{status.st_size}:{status.st_mtime_ns}"
