"""Features that ``mmsa extract`` standardised by the file's training split, standardised anew by a
fold's training clips alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

#: What is recorded a modality, with its frames (N, T, D) and lengths (N,).
FROM_VIDEO = ("audio", "vision")
#: A value that varies less is left as it is.
LEAST = 1e-6


def by_training_clips(
    splits: dict[str, dict[str, Any]], train: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """x' = (x − m) / s of every frame, m and s (D,) the mean and deviation over those of ``train``.

    The record becomes mean + m·deviation and s·deviation, so that a new clip is treated alike.
    Splits without a record of a normalisation are as they were.

    Args:
        splits: of a fold, arrays that may be written to.
        train: audio, vision, their lengths and ``recipe`` of its training clips, before.
    """
    record = _record_of(train.get("recipe"))
    for name in FROM_VIDEO:
        known = _normalisation_of(record, name, train)
        if known is None:
            continue
        frames = train[name][_is_frame(train, name)].astype(np.float64)
        if not len(frames):
            continue
        mean, deviation = frames.mean(axis=0), frames.std(axis=0)
        deviation[deviation < LEAST] = 1.0
        for fields in splits.values():
            here = _is_frame(fields, name)
            fields[name][here] = (fields[name][here] - mean) / deviation
        record[name] = {
            "mean": (known[0] + mean * known[1]).tolist(),
            "deviation": (deviation * known[1]).tolist(),
        }
    if not record:
        return splits
    return {split: {**fields, "recipe": json.dumps(record)} for split, fields in splits.items()}


def _is_frame(fields: Mapping[str, Any], name: str) -> np.ndarray:
    """(N, T), where a clip has a frame and no filling."""
    lengths = np.asarray(fields[f"{name}_lengths"]).reshape(-1, 1)
    return np.asarray(np.arange(fields[name].shape[1]) < lengths)


def _record_of(recipe: Any) -> dict[str, Any]:
    try:
        found = json.loads(recipe)
    except (TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _normalisation_of(
    record: Mapping[str, Any], name: str, train: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray] | None:
    """Mean and deviation (D,) as recorded; None where that is no record of these features."""
    if name not in train or f"{name}_lengths" not in train:
        return None
    try:
        mean, deviation = (
            np.asarray(record[name][key], np.float64) for key in ("mean", "deviation")
        )
    except (TypeError, KeyError, ValueError):
        return None
    width = (np.shape(train[name])[-1],)
    return (mean, deviation) if mean.shape == deviation.shape == width else None
