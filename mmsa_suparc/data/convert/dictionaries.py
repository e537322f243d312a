"""Dictionaries in a pickle, as code around the CMU Multimodal SDK keeps them; read without running
what they hold.

1. *Computational sequences*, of each modality by its name: ``{"audio": {video: {"features": (T, D),
   "intervals": (T, 2)}}, "vision": …, "words": …, "labels": …}``. Labels of one row are those of a
   clip (``video[3]``); with more rows, a video's clips are cut out by their intervals. ``folds``,
   if there, is ``{"train": [video, …], …}``.
2. *Word-aligned lists*, as MAG-BERT's: ``{"train": [((words, vision, audio), label, id), …], …}``.

Where there are words, audio and vision become a frame a word: those of a word's interval, averaged,
as the SDK aligns. ``sp``, its sign for a pause, is no word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmsa_suparc.data import safe_pickle
from mmsa_suparc.data.convert.clips import FIELD_NAMES, Clip, frames_of, number_of, split_of
from mmsa_suparc.data.groups import BETWEEN
from mmsa_suparc.errors import UserError

PAUSE = "sp"
EXPECTED = "expected sequences (audio, vision, words, labels) or word-aligned lists by split"
Sequences = Mapping[str, Mapping[str, Any]]


def read(source: Path, *, by_word: bool) -> list[Clip]:
    """The clips of such a file.

    Args:
        source: the pickle.
        by_word: average frames over words; else frames stay as they are.

    Raises:
        UserError: it holds something else.
    """
    try:
        content = safe_pickle.load(source, nested=True)
    except OSError as error:
        raise UserError(f"{source}: {error.strerror}") from None
    except safe_pickle.RefusedError as error:
        raise UserError(f"{source}: not a pickle of arrays ({error}); {EXPECTED}") from None
    if isinstance(content, dict) and content and all(isinstance(v, list) for v in content.values()):
        return [clip for split, rows in content.items() for clip in _listed(rows, split, source)]
    if not isinstance(content, dict) or not all(isinstance(v, dict) for v in content.values()):
        raise UserError(f"{source}: {EXPECTED}")
    return list(_cut(content, source, by_word))


def _listed(rows: list[Any], split: str, source: Path) -> Iterator[Clip]:
    for place, row in enumerate(rows):
        where = f"{source}: {split}: clip {place}"
        try:
            (words, vision, audio), label, name = row
            words = tuple(_as_text(word) for word in words)
        except (TypeError, ValueError):
            raise UserError(f"{where}: expected ((words, vision, audio), label, id)") from None
        yield Clip(
            id=_clip_id(_as_text(name)), text=" ".join(words), score=number_of(label, where),
            split=split_of(split), audio=frames_of(audio, f"{where}: audio"),
            vision=frames_of(vision, f"{where}: vision"), words=words,
        )  # fmt: skip


def _cut(content: Sequences, source: Path, by_word: bool) -> Iterator[Clip]:
    found = {ours: _sequence(content, ours) for ours in ("audio", "vision", "words", "labels")}
    for name, sequence in found.items():
        if sequence is None:
            has = ", ".join(map(str, content)) or "nothing"
            raise UserError(f"{source}: no sequence of {name}; found {has}; {EXPECTED}")
    folds = {
        video: split_of(split) for split, videos in content.get("folds", {}).items()
        for video in map(_as_text, videos)
    }  # fmt: skip
    for name, label in (found["labels"] or {}).items():
        scores, spans = _rows(label, f"{source}: labels of {name}")
        for place, (score, span) in enumerate(zip(scores, spans, strict=True)):
            whole = len(scores) == 1
            parts = {
                what: _within((found[what] or {}).get(name), None if whole else span,
                              f"{source}: {what} of {name}")
                for what in ("audio", "vision", "words")
            }  # fmt: skip
            words, times = parts["words"]
            texts = [_as_text(word[0]) for word in words.reshape(len(words), -1)]
            said = [row for row, word in enumerate(texts) if word and word != PAUSE]
            video = _clip_id(name).rpartition(BETWEEN)[0] if whole else name
            frames = {
                what: _by_word(*parts[what], times[said]) if by_word else parts[what][0]
                for what in ("audio", "vision")
            }
            yield Clip(
                id=_clip_id(name) if whole else f"{name}{BETWEEN}{place}",
                text=" ".join(texts[row] for row in said),
                score=number_of(score, f"{source}: labels of {name}"),
                split=folds.get(video, folds.get(name, "")),
                words=tuple(texts[row] for row in said) if by_word else (),
                audio=_or_none(frames["audio"], f"{source}: audio of {name}"),
                vision=_or_none(frames["vision"], f"{source}: vision of {name}"),
            )


def _sequence(content: Sequences, ours: str) -> Mapping[str, Any] | None:
    """The sequence whose name has one of the usual words in it (``CMU_MOSI_COVAREP``)."""
    usual = FIELD_NAMES.get(ours, (ours.removesuffix("s"),))
    for name, sequence in content.items():
        if any(word in str(name).lower() for word in usual):
            return sequence
    return None


def _rows(part: Any, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Features (T, …) and intervals (T, 2), seconds."""
    try:
        features, intervals = np.asarray(part["features"]), np.asarray(part["intervals"], float)
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{where}: expected 'features' and 'intervals'") from None
    if features.ndim == 0 or intervals.shape != (len(features), 2):
        raise UserError(
            f"{where}: features of shape {features.shape} and intervals of {intervals.shape}; "
            "expected a start and an end for each"
        )
    return features, intervals


def _within(part: Any, span: np.ndarray | None, where: str) -> tuple[np.ndarray, np.ndarray]:
    """The rows whose middle lies in the span; all without one, none of an absent part."""
    if part is None:
        return np.zeros((0, 1), dtype=np.float32), np.zeros((0, 2))
    features, intervals = _rows(part, where)
    if span is None:
        return features, intervals
    middles = intervals.mean(axis=1)
    inside = (middles >= span[0]) & (middles < span[1])
    return features[inside], intervals[inside]


def _by_word(features: np.ndarray, intervals: np.ndarray, words: np.ndarray) -> np.ndarray:
    """The mean of the frames whose middle lies in each word (start, end); the nearest frame where
    none does."""
    if not len(features) or not len(words):
        return features[:0]
    middles = intervals.mean(axis=1)
    rows = []
    for start, end in words:
        inside = (middles >= start) & (middles < end)
        if not inside.any():
            inside = np.arange(len(middles)) == np.abs(middles - (start + end) / 2).argmin()
        rows.append(np.asarray(features[inside], dtype=np.float64).mean(axis=0))
    return np.stack(rows)


def _or_none(frames: np.ndarray, where: str) -> np.ndarray | None:
    return frames_of(frames, where) if len(frames) else None


def _clip_id(name: str) -> str:
    """The SDK's ``video[3]`` and MAG-BERT's ``video_3`` in the toolkit's words."""
    found = re.fullmatch(r"(.+)\[(\d+)\]|(.+)_(\d+)", name)
    if found is None:
        return name
    video, clip = (found[1], found[2]) if found[1] else (found[3], found[4])
    return f"{video}{BETWEEN}{clip}"


def _as_text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
