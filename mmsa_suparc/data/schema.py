"""What a feature file has to look like, and every way in which one does not."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
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
#: Training computes in float32.
LARGEST = float(np.finfo(np.float32).max)


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
    """A malformed feature file, with all its faults.

    Args:
        path: the file.
        faults: what is wrong with it.
        others: other files, by the fields that were taken from them.
        advice: what to do.
    """

    def __init__(
        self,
        path: object,
        faults: Sequence[Fault],
        *,
        others: Mapping[str, object] | None = None,
        advice: str = "mend the file and look at it again with: mmsa data check",
    ) -> None:
        self.faults = list(faults)
        lines = [f"{(others or {}).get(fault.field, path)}: {fault}" for fault in faults]
        count = f"{len(faults)} fault{'s' if len(faults) > 1 else ''}"
        super().__init__("\n".join([*lines, f"{count}; {advice}"]))


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
    """The splits with known fields as arrays, numbers in this machine's byte order; what a file
    holds beside them is left out."""
    return {
        split: {name: _as_array(name, value) for name, value in content[split].items()}
        for split in SPLITS
        if split in content
    }


def _as_array(name: str, value: Any) -> Any:
    if name in STRINGS and isinstance(value, list):
        return np.array([str(item) for item in value], dtype=str)
    if name in STRINGS and getattr(value, "dtype", np.dtype("f")).kind == "S":
        with contextlib.suppress(UnicodeDecodeError):
            return np.char.decode(value, "utf-8")
    if name not in NUMBERS:
        return value
    array = value if isinstance(value, np.ndarray) else np.asarray(value)
    if array.dtype.kind in "fiub" and not (array.dtype.isnative and array.flags.c_contiguous):
        array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    return array


def check(content: FeatureFile, rules: Rules) -> list[Fault]:
    """All faults of a feature file, or of some of its splits; an empty list for a good one."""
    content = normalised(content)
    faults: list[Fault] = []
    for split in content:
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
            yield fault(name, "numbers", _kind(array))
        elif array.ndim != rank and not (rank == 1 and array.shape[:1] == (array.size,)):
            axes = "1 axis" if rank == 1 else f"{rank} axes"
            yield fault(name, axes, f"shape {array.shape}")
        else:
            good[name] = array
    strings = {name: fields[name] for name in STRINGS if _are_strings(fields.get(name))}
    for name in STRINGS:
        if name in fields and name not in strings:
            yield fault(name, "strings, one a clip", _kind(fields[name]))

    counts = {name: len(array) for name, array in {**good, **strings}.items()}
    count = _agreed(counts, "regression_labels")
    if counts and not count:
        yield fault("regression_labels", "at least one clip", 0)
    for name, other in counts.items():
        if other != count:
            yield fault(name, f"{count} clips", other)
    yield from (fault(*parts) for parts in _check_values(good, rules))
    if "id" in strings:
        yield from (fault(*parts) for parts in _check_ids(strings["id"]))


def _are_strings(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "U" and value.ndim == 1


def _kind(value: Any) -> str:
    """What stands where something else was expected."""
    if not isinstance(value, np.ndarray):
        return type(value).__name__
    return f"{value.dtype}" if value.ndim == 1 else f"{value.dtype} of shape {value.shape}"


def _agreed(found: Mapping[str, int], first: str) -> int:
    """What most of them have, so that the odd one out is blamed; among equals what ``first`` has,
    or else the largest; 0 for none."""
    votes = Counter(found.values())
    among = [value for value in votes if votes[value] == max(votes.values())]
    return found[first] if found.get(first) in among else max(among, default=0)


def _check_values(good: Mapping[str, np.ndarray], rules: Rules) -> Iterator[tuple[str, str, str]]:
    for name, array in good.items():
        if array.dtype.kind == "f":
            yield from _check_finite(name, array)
        if array.ndim == 3 and 0 in array.shape[1:]:
            yield name, "at least one frame and one value", f"shape {array.shape}"
    for name in SEQUENCES:
        lengths = good.get(f"{name}_lengths")
        longest = good[name].shape[1] if name in good else 0
        if lengths is not None and longest:
            flat = lengths.reshape(-1)
            rows = np.flatnonzero((flat < 0) | (flat > longest) | _not_whole(flat))
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


def _check_finite(name: str, array: np.ndarray) -> Iterator[tuple[str, str, str]]:
    if not feature_cache.is_finite(array):
        bad = _not_finite(name, array)
        if bad.any():
            rows = np.flatnonzero(bad)
            yield name, "finite numbers", f"{int(bad.sum())} others, clips {_some(rows)}"
    if array.dtype.itemsize > np.dtype(np.float32).itemsize:
        bad = _counts(array, lambda chunk: np.isfinite(chunk) & (np.abs(chunk) > LARGEST))
        if bad.any():
            rows = np.flatnonzero(bad)
            expected = f"numbers of at most {LARGEST:.4g}, as float32 holds"
            yield name, expected, f"{int(bad.sum())} beyond, clips {_some(rows)}"


def _not_finite(name: str, array: np.ndarray) -> np.ndarray:
    """How many numbers of each clip (N,) are not finite; −inf in audio is silence."""
    bad = _counts(array, lambda chunk: ~np.isfinite(chunk))
    if not bad.any():
        feature_cache.note_finite(array)
    elif name == "audio":
        bad = _counts(array, lambda chunk: ~(np.isfinite(chunk) | np.isneginf(chunk)))
    return bad


def _counts(array: np.ndarray, is_bad: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """How many numbers of each clip (N,) are bad."""
    counts = [
        is_bad(chunk).reshape(len(chunk), -1).sum(axis=1)
        for chunk in feature_cache.in_chunks(array)
    ]
    return np.concatenate(counts) if counts else np.zeros(0, dtype=int)


def _not_whole(numbers: np.ndarray) -> np.ndarray:
    """Where numbers have a fraction; NaN and Inf, which are named elsewhere, have none."""
    with np.errstate(invalid="ignore"):
        return np.mod(numbers, 1) > 0


def _check_tokens(tokens: np.ndarray, rules: Rules) -> Iterator[tuple[str, str, str]]:
    ids, mask = tokens[:, 0], tokens[:, 1]
    rows = np.flatnonzero(((mask != 0) & (mask != 1)).any(axis=1))
    if len(rows):
        yield "text_bert", "a mask of 0 and 1", f"others in clips {_some(rows)}"
    rows = np.flatnonzero(((ids < 0) | _not_whole(ids)).any(axis=1))
    if len(rows):
        yield "text_bert", "token ids ≥ 0", f"others in clips {_some(rows)}"
    if rules.vocabulary is not None:
        rows = np.flatnonzero((ids >= rules.vocabulary).any(axis=1))
        if len(rows):
            expected = f"token ids below {rules.vocabulary}, the encoder's vocabulary"
            yield "text_bert", expected, f"up to {int(ids.max())} in clips {_some(rows)}"


def _check_ids(ids: np.ndarray) -> Iterator[tuple[str, str, str]]:
    names, counts = np.unique(ids, return_counts=True)
    twice = names[counts > 1]
    if len(twice):
        yield "id", "a name a clip", f"{len(twice)} twice: {_some(twice)}"


def _check_across(content: FeatureFile, rules: Rules) -> Iterator[Fault]:
    """Widths agree between splits, and no clip is in two of them."""
    for name in ("text", "audio", "vision", "text_bert"):
        widths = {
            split: content[split][name].shape[2]
            for split in content
            if getattr(content[split].get(name), "ndim", 0) == 3
        }
        agreed = _agreed(widths, "train")
        for split, width in widths.items():
            if width != agreed:
                what = "tokens" if name == "text_bert" else "values a frame"
                model = next(other for other in widths if widths[other] == agreed)
                yield Fault(split, name, f"{agreed} {what}, as in {model}", str(width))
    if rules.allow_leak:
        return
    named = {
        split: set(content[split]["id"])
        for split in content
        if _are_strings(content[split].get("id"))
    }
    for later, earlier in (("valid", "train"), ("test", "train"), ("test", "valid")):
        both = sorted(named.get(later, set()) & named.get(earlier, set()))
        if both:
            expected = f"clips that are not in {earlier} (--allow-leak)"
            yield Fault(later, "id", expected, f"{len(both)}: {_some(both)}")


def _some(values: Any) -> str:
    """A few of the values, for a message."""
    shown = [str(value) for value in list(values)[:MOST_NAMED]]
    return ", ".join(shown) + (" …" if len(values) > MOST_NAMED else "")
