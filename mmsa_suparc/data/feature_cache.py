"""Feature files as memory-mapped arrays: a file is unpickled once in its life.

An entry is a folder with one ``.npy`` file an array and ``index.json``, which is written last
and holds the rest: strings, and each array's size and SHA-256. It is of one file as that was:
path, size, time of modification and inode. Arrays in an entry are finite, in this machine's byte
order and in C order; audio, vision and text are float16 or float32, and −inf in audio, which the
toolkit reads as silence, is 0.

Whoever makes an entry holds its lock; others wait, and read what was made.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmsa_suparc.data.cache import (
    CancelledError,
    cache_folder,
    file_identity,
    key_of,
    one_maker,
    remove,
    size_of,
    sweep,
)
from mmsa_suparc.data.files import sha256
from mmsa_suparc.errors import DiskError

FORMAT = "1"
SEQUENCES = ("text", "audio", "vision")
#: Bytes of an array that are in memory at once.
CHUNK = 1 << 25

Splits = dict[str, dict[str, Any]]


#: Large arrays of feature files that were found finite in this process: file and place in it.
_found_finite: set[tuple[str, int]] = set()


class NotFiniteError(Exception):
    """An array holds NaN or Inf: it has no place in the cache."""


@dataclass(frozen=True)
class Entry:
    """What the cache holds of one feature file."""

    folder: Path
    source: str
    bytes: int

    def broken_arrays(self) -> list[str]:
        """The files whose checksum is not the one that was written; reads them whole."""
        index = json.loads((self.folder / "index.json").read_text(encoding="utf-8"))
        return [
            stored["file"]
            for fields in index["splits"].values()
            for stored in fields.values()
            if "file" in stored and _checksum(self.folder / stored["file"]) != stored["sha256"]
        ]


def lookup(path: Path) -> Splits | None:
    """The splits of a feature file, memory-mapped and read-only; None if not in the cache."""
    folder = _folder_of(path)
    try:
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        return {
            split: {name: _load(folder, stored) for name, stored in fields.items()}
            for split, fields in index["splits"].items()
        }
    except (OSError, ValueError, KeyError):
        return None


def store(path: Path, content: Splits, *, cancelled: Callable[[], bool] = lambda: False) -> Splits:
    """Copy the splits into the cache, a chunk at a time; returns them memory-mapped.

    Where another process is at it, this one waits and takes what that has made.

    Args:
        path: the feature file.
        content: what it holds, its known fields as arrays (``schema.normalised``).
        cancelled: asked before each chunk, and while waiting.

    Raises:
        NotFiniteError: an array holds NaN or Inf; nothing is kept.
        CancelledError: nothing is kept.
        DiskError: the cache cannot be written; nothing is kept.
    """
    folder = _folder_of(path)
    sweep()
    with one_maker(folder.name, cancelled=cancelled):
        stored = lookup(path)
        if stored is None:
            _make(folder, path, content, cancelled)
            stored = lookup(path)
    if stored is None:
        raise DiskError(f"cannot read {folder} after writing it")
    return stored


def _make(folder: Path, path: Path, content: Splits, cancelled: Callable[[], bool]) -> None:
    """Write an entry beside its place, then rename it."""
    temporary = folder.with_name(f".new.{folder.name}")
    try:
        temporary.mkdir()
        index: dict[str, Any] = {"source": str(path.resolve()), "splits": {}}
        for split, fields in content.items():
            index["splits"][split] = {
                name: _store(temporary / f"{split}-{number}.npy", name, value, cancelled)
                for number, (name, value) in enumerate(fields.items())
            }
        with (temporary / "index.json").open("w", encoding="utf-8") as file:
            json.dump(index, file)
            file.flush()
            os.fsync(file.fileno())
        remove(folder)  # what is there is broken
        temporary.rename(folder)
    except OSError as error:
        raise DiskError(f"cannot write {folder}: {error.strerror or error}") from None
    finally:
        remove(temporary)


def in_memory(content: Splits) -> Splits:
    """The same arrays without the cache, for a file that cannot be put there."""
    return {
        split: {
            name: _silenced(name, np.array(value)) if isinstance(value, np.ndarray) else value
            for name, value in fields.items()
        }
        for split, fields in content.items()
    }


def is_finite(array: np.ndarray) -> bool:
    """Whether a memory map is known to hold no NaN and no Inf: one of the cache, or one that
    :func:`note_finite` was told of."""
    if not isinstance(array, np.memmap) or array.filename is None:
        return False
    path = Path(str(array.filename))
    return path.is_relative_to(cache_folder("features")) or _place_of(array) in _found_finite


def note_finite(array: np.ndarray) -> None:
    """Remember that every number of this array was looked at and is finite."""
    if isinstance(array, np.memmap) and array.filename is not None:
        _found_finite.add(_place_of(array))


def _place_of(array: np.memmap) -> tuple[str, int]:
    return file_identity(Path(str(array.filename))), int(array.offset)


def entries() -> list[Entry]:
    """All whole entries."""
    found = []
    for index in sorted(cache_folder("features").glob("[!.]*/index.json")):
        with contextlib.suppress(OSError, ValueError, KeyError):
            source = json.loads(index.read_text(encoding="utf-8"))["source"]
            found.append(Entry(index.parent, source, size_of(index.parent)))
    return found


def clear() -> int:
    """Remove all entries, and what killed processes left; returns the bytes freed."""
    freed = sum(each.bytes for each in sweep() if each.removed)
    for folder in cache_folder("features").glob("[!.]*"):
        freed += size_of(folder)
        remove(folder)
    return freed


def in_chunks(array: np.ndarray) -> Iterator[np.ndarray]:
    """The array along its first axis; a memory map is mapped anew for each chunk, so that no
    more than a chunk of it is in memory."""
    rows = max(1, CHUNK // max(1, array[:1].nbytes))
    is_map = isinstance(array, np.memmap) and array.flags.c_contiguous
    for start in range(0, len(array), rows):
        chunk = array[start : start + rows]
        if isinstance(array, np.memmap) and is_map:
            offset = int(array.offset) + start * array.strides[0]
            chunk = np.memmap(str(array.filename), array.dtype, "r", offset, chunk.shape)
        yield chunk


def _folder_of(path: Path) -> Path:
    return cache_folder("features") / key_of(FORMAT, file_identity(path))


def _store(path: Path, name: str, value: Any, cancelled: Callable[[], bool]) -> dict[str, Any]:
    """Write an array to its own file; anything else into the index."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub" or value.ndim == 0:
        kind = "array" if isinstance(value, np.ndarray) else "value"
        return {kind: json.loads(json.dumps(value, default=_plain))}
    dtype = value.dtype.newbyteorder("=")
    if name in SEQUENCES and dtype not in (np.float16, np.float32):
        dtype = np.dtype(np.float32)
    digest = hashlib.sha256()
    with path.open("wb") as file:
        header = {"descr": dtype.str, "fortran_order": False, "shape": value.shape}
        np.lib.format.write_array_header_1_0(file, header)
        for chunk in in_chunks(value):
            if cancelled():
                raise CancelledError
            data = _checked(name, np.ascontiguousarray(chunk, dtype)).data.cast("B")
            digest.update(data)
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": digest.hexdigest()}


def _plain(value: Any) -> Any:
    """Arrays of strings and numpy's scalars, for JSON."""
    if isinstance(value, (np.ndarray, np.generic)):
        return (value.astype(str) if value.dtype.kind == "S" else value).tolist()
    raise TypeError(type(value).__name__)


def _checked(name: str, chunk: np.ndarray) -> np.ndarray:
    if chunk.dtype.kind == "f" and not np.isfinite(chunk).all():
        chunk = _silenced(name, chunk)
        if not np.isfinite(chunk).all():
            raise NotFiniteError(name)
    return chunk


def _silenced(name: str, array: np.ndarray) -> np.ndarray:
    """−inf in audio as the toolkit reads it."""
    if name != "audio" or array.dtype.kind != "f":
        return array
    return np.where(np.isneginf(array), array.dtype.type(0), array)


def _load(folder: Path, stored: dict[str, Any]) -> Any:
    if "file" not in stored:
        return np.array(stored["array"]) if "array" in stored else stored["value"]
    file = folder / stored["file"]
    if file.stat().st_size != stored["bytes"]:
        raise ValueError(f"{file}: cut")
    array: np.ndarray = np.load(file, mmap_mode="r")
    return array


def _checksum(path: Path) -> str:
    """Of an array's data, without the header."""
    return sha256(path, start=_start_of_data(path))


def _start_of_data(path: Path) -> int:
    """Bytes of an array's header."""
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        return file.tell()
