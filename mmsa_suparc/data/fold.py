"""Which part of a cross-validation a training is: two keys of its configuration, ``fold`` and
``pool``; without torch or scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmsa_suparc.errors import ConfigError, nearest, shown
from mmsa_suparc.names import SPLITS

#: Folds, at most.
MOST_FOLDS = 100


@dataclass(frozen=True)
class Fold:
    """The ``number``-th of ``of`` parts, counted from 1, of these splits of a feature file."""

    number: int
    of: int
    pool: tuple[str, ...] = SPLITS

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def values(self) -> dict[str, Any]:
        """What a configuration says of it."""
        return {"fold": str(self), "pool": list(self.pool)}


def fold_of(values: Mapping[str, Any], source: str = "configuration") -> Fold | None:
    """The fold that a configuration names; None where its splits are those of the file.

    Raises:
        ConfigError: not ``K/N`` with N at least 2 and K from 1 to N, or a pool of something else
            than splits.
    """
    text = str(values.get("fold") or "")
    pool = pool_of(values.get("pool") or SPLITS, source)
    if not text:
        return None
    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal() and len(text) < 10):
        number, of = "0", "0"
    if not 1 <= int(number) <= int(of) or not 2 <= int(of) <= MOST_FOLDS:
        raise ConfigError(
            f"{source}: fold = {shown(text)}: expected K/N, the K-th of N folds, N from 2 to "
            f"{MOST_FOLDS}"
        )
    return Fold(int(number), int(of), pool)


def pool_of(splits: Sequence[Any], source: str) -> tuple[str, ...]:
    """Names of splits, in the order of the file's.

    Raises:
        ConfigError: none, one twice, or an unknown one.
    """
    names = [splits] if isinstance(splits, str) else list(splits)
    for name in names:
        if name not in SPLITS:
            raise ConfigError(f"{source}: pool: no split {shown(name)}{nearest(str(name), SPLITS)}")
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"{source}: pool = {shown(splits)}: expected splits, each once")
    return tuple(name for name in SPLITS if name in names)


def pool_in_words(pool: Sequence[str]) -> str:
    """As titles and messages have it."""
    words = {"train": "train", "valid": "validation", "test": "test"}
    return "+".join(words[name] for name in pool)
