"""Reading a feature file of the toolkit: without running what it holds, and unpickled once."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import Any

from mmsa_suparc.data import feature_cache, safe_pickle, schema
from mmsa_suparc.data.cache import CancelledError, file_identity
from mmsa_suparc.errors import DiskError, UserError
from mmsa_suparc.names import SPLITS

FeatureFile = dict[str, dict[str, Any]]

_shared: dict[Hashable, FeatureFile] | None = None
_writers: list[threading.Thread] = []
_nobody_waits = threading.Event()


@contextlib.contextmanager
def reading_once() -> Iterator[None]:
    """Within this block a file is read from disk once; nested blocks share the outermost.

    What is still being written to the cache at its end is waited for; after an error it is not.
    """
    global _shared
    if _shared is not None:
        yield
        return
    _shared = {}
    try:
        yield
    except BaseException:
        _nobody_waits.set()
        raise
    finally:
        _shared = None
        while _writers:
            _writers.pop().join()
        _nobody_waits.clear()


def once(key: Hashable, make: Callable[[], FeatureFile]) -> FeatureFile:
    """What ``make`` gives; within :func:`reading_once` it is called once a key."""
    if _shared is None:
        return make()
    if key not in _shared:
        _shared[key] = make()
    return _shared[key]


def read(path: str | Path) -> FeatureFile:
    """The splits of a feature file; large arrays are memory maps of the cache or of the file.

    Returns:
        ``{"train": {"text_bert": (N, 3, L), "audio": (N, T, D), ...}, "valid": ..., ...}``.

    Raises:
        UserError: absent, no pickle of arrays, or a split or field is missing: one line.
    """
    path = Path(path)
    try:
        identity = file_identity(path)
    except OSError as error:
        raise UserError(f"feature file {path}: {error.strerror}") from None
    return once(identity, lambda: _load(path))


def read_to_train(path: str | Path, *, at_once: bool = False) -> FeatureFile:
    """The splits of a feature file, its known fields as arrays, from the cache.

    A file that is not in it yet is put there; one with NaN or Inf is not, and stays as it is.

    Args:
        at_once: do not wait for the cache where the arrays can be used as they lie in the file;
            it is written meanwhile, for the next time.
    """
    path = Path(path)
    return once((file_identity(path), "to train"), lambda: _from_cache(path, at_once))


def _from_cache(path: Path, at_once: bool) -> FeatureFile:
    content = schema.normalised(read(path))
    if feature_cache.lookup(path) is not None:
        return content
    if at_once and _shared is not None and _usable_as_it_lies(content):
        writer = threading.Thread(target=_write, args=(path, content))
        _writers.append(writer)
        writer.start()
        return content
    return _write(path, content) or feature_cache.in_memory(content)


def _write(path: Path, content: FeatureFile) -> FeatureFile | None:
    """Put a file into the cache; None if it has no place there. The run goes on without it."""
    try:
        return feature_cache.store(path, content, cancelled=_nobody_waits.is_set)
    except (feature_cache.NotFiniteError, CancelledError):
        return None
    except DiskError as error:
        print(f"mmsa: {error}; going on without a cache of the features", file=sys.stderr)
        return None


def _usable_as_it_lies(content: FeatureFile) -> bool:
    """Whether all large arrays are memory maps that a check found finite."""
    arrays = [
        fields[name] for fields in content.values() for name in feature_cache.SEQUENCES
        if name in fields
    ]  # fmt: skip
    return all(feature_cache.is_finite(array) for array in arrays)


def _load(path: Path) -> FeatureFile:
    cached = feature_cache.lookup(path)
    if cached is not None:
        return cached
    try:
        content: FeatureFile = safe_pickle.load(path)
    except OSError as error:
        raise UserError(f"feature file {path}: {error.strerror}") from None
    except safe_pickle.RefusedError as error:
        raise UserError(
            f"feature file {path}: not a pickle of arrays ({error}); "
            "expected the toolkit's train/valid/test dictionary"
        ) from None
    _check_splits(path, content)
    return {split: content[split] for split in SPLITS}  # what else it holds is nobody's


def _check_splits(path: Path, content: Any) -> None:
    """Enough structure to start; the contents are checked where they are used."""
    if not isinstance(content, dict):
        raise UserError(f"feature file {path}: holds a {type(content).__name__}; expected a dict")
    for split in SPLITS:
        if split not in content:
            found = ", ".join(sorted(map(str, content))) or "nothing"
            raise UserError(f"feature file {path}: no split '{split}'; found {found}")
        if not isinstance(content[split], dict):
            kind = type(content[split]).__name__
            raise UserError(
                f"feature file {path}: split '{split}' is a {kind}; expected a dict of its fields"
            )
