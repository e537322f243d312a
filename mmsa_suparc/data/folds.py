"""Cross-validation by groups: the clips of a feature file, cut anew into train, valid and test.

A fold is a function of ids, groups and scores alone: the same for every model, seed and order of
the clips. The clips of the K-th part are ``test``; of the others a part is ``valid``, which selects
the epoch, and the rest is ``train``. No group is in two of them, and scores are spread alike.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from mmsa_suparc.data.fold import Fold, pool_in_words
from mmsa_suparc.data.fold_scale import FROM_VIDEO, by_training_clips
from mmsa_suparc.data.groups import FIELD, known_groups, whole_groups
from mmsa_suparc.errors import UserError
from mmsa_suparc.names import SPLITS

#: The part of a fold's training clips that selects the epoch: one in so many.
VALIDATION = 6
#: Classes by which scores are spread evenly over the parts: quantiles.
CLASSES = 5
#: Of the order in which equal groups are given to the parts.
SEED = 2026
#: Fields (N, T, D) whose T may differ between splits: filled with zeros.
SEQUENCES = ("text", "audio", "vision")

FeatureFile = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Cut:
    """By new split, the clips' places in the pooled splits of the file, one behind the other."""

    pool: tuple[str, ...]
    places: Mapping[str, np.ndarray]

    def of(self, content: FeatureFile, splits: Sequence[str] = SPLITS) -> FeatureFile:
        """The new splits, each a copy in memory of its clips; what is no row a clip (a recipe) is
        as the first pooled split has it, and what some of them lack is left out. Features with a
        recorded normalisation get that of the new training clips.

        Raises:
            UserError: a field whose rows have another shape in another split.
        """
        parts = [content[split] for split in self.pool]
        shared = [name for name in parts[0] if all(name in part for part in parts)]
        counts = [len(part["id"]) for part in parts]

        def rows(split: str, names: Sequence[str]) -> dict[str, Any]:
            places = self.places[split]
            return {name: _rows(name, [p[name] for p in parts], counts, places) for name in names}

        made = {split: rows(split, shared) for split in splits}
        if "recipe" not in shared:
            return made
        scaled = [name for name in shared if name.startswith((*FROM_VIDEO, "recipe"))]
        return by_training_clips(made, rows("train", scaled))


def _rows(name: str, values: list[Any], counts: list[int], places: np.ndarray) -> Any:
    """The rows at these places of arrays or lists that stand one behind the other."""
    if not all(_is_by_clip(value, count) for value, count in zip(values, counts, strict=True)):
        return values[0]
    if not all(isinstance(value, np.ndarray) for value in values):
        joined = [row for value in values for row in value]
        return [joined[place] for place in places]
    longest = max(values, key=lambda value: value.shape[1:2])
    for value in values:
        padded = name in SEQUENCES and value.shape[2:] == longest.shape[2:]
        if value.shape[1:] != longest.shape[1:] and not padded:
            raise UserError(
                f"{name}: expected rows of one shape in the splits that are pooled; found "
                f"{value.shape[1:]} and {longest.shape[1:]}"
            )
    found = np.zeros((len(places), *longest.shape[1:]), dtype=np.result_type(*values))
    start = 0
    for value, count in zip(values, counts, strict=True):
        here = (places >= start) & (places < start + count)
        filled = found[:, : value.shape[1]] if value.ndim > 1 else found
        filled[here] = value[places[here] - start]
        start += count
    return found


def _is_by_clip(value: Any, count: int) -> bool:
    """Whether it is an array or a list with an entry a clip."""
    whole = isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim > 0)
    return whole and len(value) == count


def cut(content: FeatureFile, fold: Fold) -> Cut:
    """Where the clips of a fold's new splits lie.

    Args:
        content: the splits of a feature file, with ``id`` and ``regression_labels``.
        fold: which part of which splits.

    Raises:
        UserError: fewer groups than folds, too few to validate with, a clip twice: one line.
    """
    ids = np.array([str(one) for split in fold.pool for one in np.ravel(content[split]["id"])])
    scores = np.concatenate(
        [np.ravel(np.asarray(content[split]["regression_labels"], float)) for split in fold.pool]
    )
    groups = whole_groups(known_groups(content, fold.pool), ids.tolist())
    names, times = np.unique(ids, return_counts=True)
    where = pool_in_words(fold.pool)
    if (times > 1).any():
        raise UserError(f"folds: clip '{names[times > 1][0]}' is twice in {where}; expected once")
    count = len(set(groups))
    if count < max(fold.of, 3):
        raise UserError(
            f"folds: {fold.of} folds of {where}, which has {count} video(s) or speaker(s); "
            f"expected at least {max(fold.of, 3)}"
        )
    part = parts_of(ids, groups, scores, fold.of)
    is_test = part == fold.number - 1
    rest = np.flatnonzero(~is_test)
    few = len(set(groups[rest]))
    if few < 2 or not is_test.any():
        raise UserError(
            f"folds: fold {fold} of {where} leaves {few} of {count} video(s) or speaker(s) to "
            "train and to validate with; expected at least 2: choose another number of folds"
        )
    inner = parts_of(ids[rest], groups[rest], scores[rest], min(VALIDATION, few))
    places = {
        "train": rest[inner != 0], "valid": rest[inner == 0], "test": np.flatnonzero(is_test)
    }  # fmt: skip
    return Cut(fold.pool, places)


def parts_of(ids: np.ndarray, groups: np.ndarray, scores: np.ndarray, count: int) -> np.ndarray:
    """The part (N,) of each clip, 0 to ``count`` − 1: whole groups, and scores spread alike.

    Args:
        ids: (N,) which give an order, so that the clips' order in a file changes nothing.
        groups: (N,).
        scores: (N,).
        count: at most the number of groups.
    """
    order = np.argsort(ids, kind="stable")
    classes = max(1, min(CLASSES, len(scores) // count))
    edges = np.unique(np.quantile(scores, np.linspace(0, 1, classes + 1)[1:-1]))
    level = np.searchsorted(edges, scores, side="right")[order]
    names = groups[order].astype(str)
    found = np.empty(len(ids), dtype=int)
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=SEED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of rare classes, which are spread as can be
        for number, (_, here) in enumerate(splitter.split(names, level, names)):
            found[order[here]] = number
    return found


def doubts(content: FeatureFile, fold: Fold) -> list[str]:
    """What somebody who cross-validates this file should know."""
    known = known_groups(content, fold.pool)
    found = []
    if not known.astype(bool).any():
        found.append(
            f"no clip's video or speaker is known (no field '{FIELD}', no id 'video$_$clip'): each "
            "clip is its own group, so clips of one video may be in training and test"
        )
    elif not known.astype(bool).all():
        found.append(
            f"{int((known == '').sum())} of {len(known)} clips have no known video or speaker: "
            "each of them is its own group"
        )
    for split in content:
        if split in fold.pool or "id" not in content[split]:
            continue
        both = sorted((set(known) & set(known_groups(content, [split]))) - {""})
        if both:
            found.append(
                f"{len(both)} video(s) or speaker(s) of {pool_in_words(fold.pool)} are also in "
                f"{split}, which stays apart: '{both[0]}'"
            )
    return found
