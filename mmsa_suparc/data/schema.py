"""What a feature file has to look like, and every way in which one does not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmsa_suparc.data import feature_cache
from mmsa_suparc.errors import UserError
from mmsa_suparc.names import SPLITS

#: Fields with a row a clip that become arrays of numbers, and their number of axes.
NUMBERS = {
    "text": 3,
    "text_bert": 3,
    "audio": 3,
    "vision": 3,
    "audio_lengths": 1,
    "vision_lengths": 1,
    "regression_labels": 1,
    "regression_labels_T": 1,
    "regression_labels_A": 1,
    "regression_labels_V": 1,
}
#: Fields of strings.
STRINGS = ("raw_text", "id")
SEQUENCES = ("audio", "vision")
FeatureFile = dict[str, dict[str, Any]]
MOST_NAMED = 3


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: where, what was expected, what was found."""

    split: str
    field: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.split}: {self.field}: expected {self.expected}; found {self.found}"


class FaultsError(UserError):
    """A malformed feature file, with all its faults."""

    def __init__(self, path: object, faults: Sequence[Fault]) -> None:
        self.faults = list(faults)
        lines = [f"{path}: {fault}" for fault in faults]
        super().__init__("\n".join([*lines, f"{len(faults)} fault(s); see: mmsa data check"]))


@dataclass(frozen=True)
class Rules:
    """What a check asks for beyond the format.

    Args:
        score_range: lowest and highest label, or None for any.
        lengths: whether ``audio_lengths`` and ``vision_lengths`` are needed (unaligned data).
        unimodal: whether labels for each modality are needed (CH-SIMS baselines).
        vocabulary: number of tokens of the encoder, or None if unknown.
        allow_leak: clips of the test split may occur in others.
    """

    score_range: tuple[float, float] | None = None
    lengths: bool = True
    unimodal: bool = False
    vocabulary: int | None = None
    allow_leak: bool = False


def normalised(content: FeatureFile) -> FeatureFile:
    """The same splits with known fields as arrays: numbers in this machine's byte order."""
    return {
        split: {name: _as_array(name, value) for name, value in content[split].items()}
        for split in content
        if isinstance(content[split], dict)
    }


def _as_array(name: str, value: Any) -> Any:
    if name in STRINGS and isinstance(value, list):
        return np.array([str(item) for item in value])
    if name not in NUMBERS:
        return value
    array = value if isinstance(value, np.ndarray) else np.asarray(value)
    if array.dtype.kind in "fiub" and not (array.dtype.isnative and array.flags.c_contiguous):
        array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    return array


def check(content: FeatureFile, rules: Rules) -> list[Fault]:
    """All faults of a feature file; an empty list for a good one."""
    content = normalised(content)
    faults: list[Fault] = []
    for split in SPLITS:
        faults += _check_split(split, content[split], rules)
    faults += _check_across(content, rules)
    return faults


def _check_split(split: str, fields: Mapping[str, Any], rules: Rules) -> Iterator[Fault]:
    def fault(field: str, expected: str, found: object) -> Fault:
        return Fault(split, field, expected, str(found))

    needed = ["audio", "vision", "regression_labels", "id", "raw_text"]
    if rules.lengths:
        needed += ["audio_lengths", "vision_lengths"]
    if rules.unimodal:
        needed += ["regression_labels_T", "regression_labels_A", "regression_labels_V"]
    for name in needed:
        if name not in fields:
            yield fault(name, "this field", "none")
    if "text_bert" not in fields and "text" not in fields and "raw_text" not in fields:
        yield fault("text", "text_bert, text or raw_text", "none")

    good: dict[str, np.ndarray] = {}
    for name, rank in NUMBERS.items():
        if name not in fields:
            continue
        array = fields[name]
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
            yield fault(name, "numbers", getattr(array, "dtype", type(array).__name__))
        elif array.ndim != rank and not (rank == 1 and array.size == len(array)):
            yield fault(name, f"{rank} axes", f"shape {array.shape}")
        else:
            good[name] = array
    for name in STRINGS:
        if name in fields and getattr(fields[name], "dtype", np.dtype("f")).kind not in "US":
            yield fault(name, "strings", getattr(fields[name], "dtype", type(fields[name])))

    counts = {
        name: len(fields[name])
        for name in (*good, *STRINGS)
        if name in fields and hasattr(fields[name], "__len__")
    }
    count = counts.get("regression_labels", max(counts.values(), default=0))
    if count == 0:
        yield fault("regression_labels", "at least one clip", 0)
    for name, other in counts.items():
        if other != count:
            yield fault(name, f"{count} clips", other)
    yield from (fault(*parts) for parts in _check_values(good, rules))
    yield from (fault(*parts) for parts in _check_ids(fields))


def _check_values(good: Mapping[str, np.ndarray], rules: Rules) -> Iterator[tuple[str, str, str]]:
    for name, array in good.items():
        if array.dtype.kind == "f" and not feature_cache.is_finite(array):
            bad = _not_finite(name, array)
            if bad.any():
                rows = np.flatnonzero(bad)
                yield name, "finite numbers", f"{int(bad.sum())} others, clips {_some(rows)}"
        if array.ndim == 3 and 0 in array.shape[1:]:
            yield name, "at least one frame and one value", f"shape {array.shape}"
    for name in SEQUENCES:
        lengths = good.get(f"{name}_lengths")
        if lengths is not None and name in good:
            longest = good[name].shape[1]
            flat = lengths.reshape(-1)
            rows = np.flatnonzero((flat < 0) | (flat > longest) | (flat != np.round(flat)))
            if len(rows):
                found = f"{_some(flat[rows])} in clips {_some(rows)}"
                yield f"{name}_lengths", f"whole numbers from 0 to {longest}", found
    tokens = good.get("text_bert")
    if tokens is not None:
        if tokens.shape[1] != 3:
            yield "text_bert", "(clips, 3, tokens)", f"shape {tokens.shape}"
        else:
            yield from _check_tokens(tokens, rules)
    low, high = rules.score_range or (-np.inf, np.inf)
    for name, array in good.items():
        if name.startswith("regression_labels"):
            flat = array.reshape(-1)
            rows = np.flatnonzero((flat < low - 1e-6) | (flat > high + 1e-6))
            if len(rows):
                found = f"{_some(flat[rows])} in clips {_some(rows)}"
                yield name, f"scores from {low:g} to {high:g} (--allow-label-range)", found


def _not_finite(name: str, array: np.ndarray) -> np.ndarray:
    """How many numbers of each clip (N,) are not finite; −inf in audio is silence."""
    counts = []
    all_finite = True
    for chunk in feature_cache.in_chunks(array):
        bad = ~np.isfinite(chunk)
        if bad.any():
            all_finite = False
            if name == "audio":
                bad &= chunk != -np.inf
        counts.append(bad.reshape(len(chunk), -1).sum(axis=1))
    if all_finite:
        feature_cache.note_finite(array)
    return np.concatenate(counts) if counts else np.zeros(0, dtype=int)


def _check_tokens(tokens: np.ndarray, rules: Rules) -> Iterator[tuple[str, str, str]]:
    ids, mask = tokens[:, 0], tokens[:, 1]
    rows = np.flatnonzero(((mask != 0) & (mask != 1)).any(axis=1))
    if len(rows):
        yield "text_bert", "a mask of 0 and 1", f"others in clips {_some(rows)}"
    rows = np.flatnonzero(((ids < 0) | (ids != np.round(ids))).any(axis=1))
    if len(rows):
        yield "text_bert", "token ids ≥ 0", f"others in clips {_some(rows)}"
    if rules.vocabulary is not None:
        rows = np.flatnonzero((ids >= rules.vocabulary).any(axis=1))
        if len(rows):
            expected = f"token ids below {rules.vocabulary}, the encoder's vocabulary"
            yield "text_bert", expected, f"up to {int(ids.max())} in clips {_some(rows)}"


def _check_ids(fields: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    ids = fields.get("id")
    if ids is None or not hasattr(ids, "__len__"):
        return
    names, counts = np.unique(np.asarray(ids, dtype=str), return_counts=True)
    twice = names[counts > 1]
    if len(twice):
        yield "id", "a name a clip", f"{len(twice)} twice: {_some(twice)}"


def _check_across(content: FeatureFile, rules: Rules) -> Iterator[Fault]:
    """Widths agree between splits, and no clip is in two of them."""
    for name, axis in (("text", 2), ("audio", 2), ("vision", 2), ("text_bert", 2)):
        widths = {
            split: content[split][name].shape[axis]
            for split in SPLITS
            if getattr(content[split].get(name), "ndim", 0) == 3
        }
        for split, width in widths.items():
            if width != widths.get("train", width):
                what = "tokens" if name == "text_bert" else "values a frame"
                yield Fault(split, name, f"{widths['train']} {what}, as in train", str(width))
    if rules.allow_leak:
        return
    ids = {
        split: set(np.asarray(content[split]["id"], dtype=str))
        for split in SPLITS
        if hasattr(content[split].get("id"), "__len__")
    }
    for later, earlier in (("valid", "train"), ("test", "train"), ("test", "valid")):
        both = sorted(ids.get(later, set()) & ids.get(earlier, set()))
        if both:
            expected = f"clips that are not in {earlier} (--allow-leak)"
            yield Fault(later, "id", expected, f"{len(both)}: {_some(both)}")


def _some(values: Any) -> str:
    """A few of the values, for a message."""
    shown = [str(value) for value in list(values)[:MOST_NAMED]]
    return ", ".join(shown) + (" …" if len(values) > MOST_NAMED else "")
