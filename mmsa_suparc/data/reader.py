"""Reading a feature file of the toolkit: once, and without running what it holds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import Any

from mmsa_suparc.data import safe_pickle
from mmsa_suparc.data.cache import file_identity
from mmsa_suparc.errors import UserError

SPLITS = ("train", "valid", "test")
FeatureFile = dict[str, dict[str, Any]]

_shared: dict[Hashable, FeatureFile] | None = None


@contextlib.contextmanager
def reading_once() -> Iterator[None]:
    """Within this block a file is read from disk once; nested blocks share the outermost."""
    global _shared
    if _shared is not None:
        yield
        return
    _shared = {}
    try:
        yield
    finally:
        _shared = None


def once(key: Hashable, make: Callable[[], FeatureFile]) -> FeatureFile:
    """What ``make`` gives; within :func:`reading_once` it is called once a key."""
    if _shared is None:
        return make()
    if key not in _shared:
        _shared[key] = make()
    return _shared[key]


def read(path: str | Path) -> FeatureFile:
    """The splits of a feature file.

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


def _load(path: Path) -> FeatureFile:
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
    return content


def _check_splits(path: Path, content: Any) -> None:
    """Enough structure to start; the contents are checked where they are used."""
    if not isinstance(content, dict):
        raise UserError(f"feature file {path}: holds a {type(content).__name__}; expected a dict")
    for split in SPLITS:
        if not isinstance(content.get(split), dict):
            raise UserError(
                f"feature file {path}: no split '{split}'; found {sorted(map(str, content))}"
            )
