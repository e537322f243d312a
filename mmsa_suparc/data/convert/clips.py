"""Clips of any origin, and the feature file that is made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mmsa_suparc.data import text
from mmsa_suparc.errors import UserError
from mmsa_suparc.names import SPLITS

#: Other names of splits and of fields; ours come first.
SPLIT_NAMES = {
    "train": ("train", "training"),
    "valid": ("valid", "validation", "dev", "val"),
    "test": ("test",),
}
FIELD_NAMES = {
    "id": ("id", "clip", "segment"),
    "text": ("raw_text", "text", "transcript", "sentence"),
    "score": ("regression_labels", "regression_label", "score", "label", "labels", "sentiment"),
    "split": ("split", "mode"),
    "audio": ("audio", "acoustic", "covarep", "opensmile"),
    "vision": ("vision", "visual", "video", "facet", "openface"),
    "T": ("regression_labels_T", "label_T"),
    "A": ("regression_labels_A", "label_A"),
    "V": ("regression_labels_V", "label_V"),
}


@dataclass(frozen=True)
class Clip:
    """A clip as its origin has it.

    Args:
        id: ``video$_$clip``, or any other name.
        text: what is said.
        score: in score units.
        split: train, valid or test; empty where the origin gives none.
        audio: (T, D) frames, or None.
        vision: likewise.
        words: the word of each frame, where both modalities have a frame a word; else empty.
        unimodal: scores of ``T``, ``A`` and ``V``, or of none.
    """

    id: str
    text: str
    score: float
    split: str
    audio: np.ndarray | None
    vision: np.ndarray | None
    words: tuple[str, ...] = ()
    unimodal: Mapping[str, float] = field(default_factory=dict)


def split_of(name: str) -> str:
    """The split behind one of its names; empty for an empty one.

    Raises:
        UserError: none is called so.
    """
    for split, names in SPLIT_NAMES.items():
        if name.strip().lower() in names:
            return split
    if name.strip():
        raise UserError(f"split '{name}'; expected train, valid (validation, dev) or test")
    return ""


def name_among(names: Sequence[str], ours: str) -> str | None:
    """What one of our fields is called among the names of a table or dictionary."""
    return next((name for name in FIELD_NAMES[ours] if name in names), None)


def frames_of(value: Any, where: str) -> np.ndarray:
    """(T, D) float32; a single vector is one frame.

    Raises:
        UserError: no such array of numbers.
    """
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.zeros(0, dtype=object)
    if array.dtype.kind not in "fiu" or array.ndim not in (1, 2) or not array.shape[-1]:
        found = f"{array.dtype} of shape {array.shape}"
        raise UserError(f"{where}: {found}; expected numbers, (frames, values a frame)")
    return np.atleast_2d(array).astype(np.float32)


def number_of(value: Any, where: str) -> float:
    """One number, however many axes it stands behind.

    Raises:
        UserError: none.
    """
    try:
        return float(np.asarray(value, dtype=np.float64).reshape(-1)[0])
    except (ValueError, TypeError, IndexError):
        raise UserError(f"{where}: {str(value)[:40]!r} is no number") from None


def feature_file(
    clips: Sequence[Clip], splits: Sequence[str], *, most_frames: int
) -> dict[str, dict[str, Any]]:
    """The toolkit's unaligned format: frames padded to the longest clip, and lengths.

    Args:
        clips: of all splits.
        splits: of each.
        most_frames: later ones of a clip are cut.

    Raises:
        UserError: a split has no clip, a modality no frames, or widths differ.
    """
    shapes = {name: _shape(clips, name, most_frames) for name in ("audio", "vision")}
    content = {}
    for split in SPLITS:
        some = [clip for clip, its in zip(clips, splits, strict=True) if its == split]
        if not some:
            raise UserError(f"split '{split}': no clip; expected at least one in each")
        content[split] = _fields(some)
        for name, (longest, width) in shapes.items():
            frames = np.zeros((len(some), longest, width), dtype=np.float32)
            lengths = np.zeros(len(some), dtype=np.int64)
            for row, clip in enumerate(some):
                given = getattr(clip, name)
                if given is not None:
                    lengths[row] = min(len(given), longest)
                    frames[row, : lengths[row]] = given[:longest]
            content[split] |= {name: frames, f"{name}_lengths": lengths}
    return content


def aligned_file(
    clips: Sequence[Clip], splits: Sequence[str], encoder: str
) -> dict[str, dict[str, Any]]:
    """The toolkit's aligned format: a frame beside each token of the encoder's tokenizer.

    A word's frame is repeated for each of its tokens; beside the first and the last sign are zeros,
    as in MAG-BERT's preparation of word-aligned data.

    Raises:
        UserError: a clip has no frame a word.
    """
    for clip in clips:
        for name in ("audio", "vision"):
            frames = getattr(clip, name)
            if not clip.words or frames is None or len(frames) != len(clip.words):
                count = 0 if frames is None else len(frames)
                raise UserError(
                    f"clip {clip.id}: {count} frames of {name} beside {len(clip.words)} words; "
                    "expected a frame a word. Leave --aligned out"
                )
    tokenizer = text.tokenizer_of(encoder)
    content = {}
    for split in SPLITS:
        some = [clip for clip, its in zip(clips, splits, strict=True) if its == split]
        if not some:
            raise UserError(f"split '{split}': no clip; expected at least one in each")
        encoded = tokenizer(
            [list(clip.words) for clip in some], is_split_into_words=True, padding="max_length",
            truncation=True, max_length=text.TOKENS, return_token_type_ids=True,
        )  # fmt: skip
        parts = [encoded[name] for name in ("input_ids", "attention_mask", "token_type_ids")]
        content[split] = {
            **_fields(some),
            "text_bert": np.stack([np.asarray(part, dtype=np.int32) for part in parts], axis=1),
        }
        for name in ("audio", "vision"):
            width = _shape(clips, name, text.TOKENS)[1]
            frames = np.zeros((len(some), text.TOKENS, width), dtype=np.float32)
            for row, clip in enumerate(some):
                for place, word in enumerate(encoded.word_ids(row)):
                    if word is not None:
                        frames[row, place] = getattr(clip, name)[word]
            content[split][name] = frames
    return content


def _shape(clips: Sequence[Clip], name: str, most_frames: int) -> tuple[int, int]:
    """The longest clip's frames, and the width that all agree on."""
    longest, width = 0, 0
    for clip in clips:
        frames = getattr(clip, name)
        if frames is None:
            continue
        if width and frames.shape[1] != width:
            raise UserError(
                f"clip {clip.id}: {frames.shape[1]} values a frame of {name}; expected {width}, as "
                "in the clips before it"
            )
        longest, width = max(longest, len(frames)), frames.shape[1]
    if not width:
        raise UserError(f"{name}: no clip has frames of it; expected some")
    return min(longest, most_frames), width


def _fields(clips: Sequence[Clip]) -> dict[str, Any]:
    """What does not depend on the frames."""
    scores = np.array([clip.score for clip in clips], dtype=np.float32)
    signs = np.sign(np.nan_to_num(scores)).astype(int)
    words = np.array(["Negative", "Neutral", "Positive"])
    fields: dict[str, Any] = {
        "id": np.array([clip.id for clip in clips], dtype=str),
        "raw_text": np.array([clip.text for clip in clips], dtype=str),
        "regression_labels": scores,
        "classification_labels": (signs + 1).astype(np.float32),
        "annotations": words[signs + 1],
    }
    if all(len(clip.unimodal) == 3 for clip in clips):
        for letter in "TAV":
            labels = [clip.unimodal[letter] for clip in clips]
            fields[f"regression_labels_{letter}"] = np.array(labels, dtype=np.float32)
    return fields
