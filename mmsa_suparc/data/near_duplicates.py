"""Clips of two splits that are nearly the same: what a model has learnt by heart is then tested."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_matrix
from scipy.spatial.distance import cdist

#: Characters in a row that texts are compared by, and the fewest different ones a text needs:
#: "thank you" is said in every split.
GRAM, FEWEST_GRAMS = 3, 15
#: From which share of common grams two texts are nearly the same.
ALIKE = 0.8
#: Up to which difference two clips sound the same, in standard deviations of a training clip's.
SOUNDS_THE_SAME = 0.02
AT_ONCE = 256  # clips compared with all of another split


class Pair(NamedTuple):
    """Two clips by their places in two splits, and how alike they are."""

    one: int
    other: int
    alike: float


def alike_texts(ours: Sequence[str], theirs: Sequence[str]) -> list[Pair]:
    """Pairs of texts that share :data:`ALIKE` of their grams (Jaccard index); short ones count
    for nothing."""
    places: dict[str, int] = {}
    one, other = (_grams(texts, places) for texts in (ours, theirs))
    one, other = (_as_matrix(grams, len(places)) for grams in (one, other))
    sizes = np.asarray(other.sum(axis=1)).reshape(-1)
    found: list[Pair] = []
    for start in range(0, one.shape[0], AT_ONCE):
        part = one[start : start + AT_ONCE]
        common = (part @ other.T).tocoo()
        union = np.asarray(part.sum(axis=1)).reshape(-1)[common.row] + sizes[common.col]
        index = common.data / (union - common.data)
        found += [
            Pair(start + int(common.row[n]), int(common.col[n]), float(index[n]))
            for n in np.flatnonzero(index >= ALIKE)
        ]
    return found


def _grams(texts: Sequence[str], places: dict[str, int]) -> list[set[int]]:
    """The places of each text's grams; letters and digits count, whatever their case."""
    result = []
    for text in texts:
        letters = "".join(re.findall(r"\w", str(text).casefold()))
        grams = {letters[n : n + GRAM] for n in range(len(letters) - GRAM + 1)}
        few = len(grams) < FEWEST_GRAMS
        result.append(set() if few else {places.setdefault(g, len(places)) for g in grams})
    return result


def _as_matrix(grams: list[set[int]], width: int) -> Any:
    ends = np.cumsum([0, *map(len, grams)])
    places = np.fromiter((place for some in grams for place in sorted(some)), int, ends[-1])
    return csr_matrix((np.ones(len(places), np.float32), places, ends), (len(grams), width))


def signatures(frames: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Mean and deviation of each value over a clip's frames, (N, 2 D); NaN where a clip has none.

    Args:
        frames: (N, T, D).
        lengths: (N,) frames that count.
    """
    found = np.full((len(frames), 2 * frames.shape[2]), np.nan)
    for row, length in enumerate(np.reshape(lengths, -1)):
        part = np.asarray(frames[row, : int(length)], dtype=np.float64)
        if length and np.isfinite(part).all() and part.any():
            found[row] = np.concatenate([part.mean(axis=0), part.std(axis=0)])
    return found


def alike_sounds(ours: np.ndarray, theirs: np.ndarray, unit: np.ndarray) -> list[Pair]:
    """Pairs of clips whose signatures differ by at most :data:`SOUNDS_THE_SAME` in the mean
    square.

    Args:
        ours: (N, S) of :func:`signatures`.
        theirs: (M, S).
        unit: (S,) one standard deviation of each; those that are 0 count for nothing.
    """
    used = unit > 0
    if not used.any():
        return []
    one, other = (part[:, used] / unit[used] for part in (ours, theirs))
    found: list[Pair] = []
    for start, part in _parts(one):
        far = np.sqrt(cdist(part, other, "sqeuclidean") / used.sum())
        rows, columns = np.nonzero(far <= SOUNDS_THE_SAME)  # NaN is at no distance
        found += [
            Pair(start + int(row), int(column), 1.0 - float(far[row, column]))
            for row, column in zip(rows, columns, strict=True)
        ]
    return found


def _parts(rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    for start in range(0, len(rows), AT_ONCE):
        yield start, rows[start : start + AT_ONCE]
