"""Clips with modalities, frames or tokens taken away, and with noise: the inputs of a test.

Protocols, as the field uses them:

P1  fixed subsets: every clip keeps the same modalities;
P2  random modality rate η: each clip loses each modality with probability η and keeps at least
    one;
P3  random drop rate r: each frame and token is lost with probability r.

What a lost modality looks like depends on the model. One that knows masks is told (length 0,
no token). For the others features are zeroed and a sentence is left empty, as is usual.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mmsa_suparc.names import MODALITIES


@dataclass(frozen=True)
class Inputs:
    """A split's inputs.

    Shapes: text (N, 3, L) tokens, mask, segments, or (N, L, W) features; audio (N, T_a, D_a);
    vision (N, T_v, D_v); lengths (N,), or None where the model is not told any.
    """

    text: np.ndarray
    audio: np.ndarray
    vision: np.ndarray
    audio_lengths: np.ndarray | None
    vision_lengths: np.ndarray | None
    text_is_tokens: bool
    model_knows_masks: bool

    def __len__(self) -> int:
        return len(self.text)


def keep(inputs: Inputs, kept: np.ndarray) -> Inputs:
    """The inputs with each clip's other modalities lost.

    Args:
        kept: (N, 3) bool, in the order of ``names.MODALITIES``.
    """
    if not kept.any(axis=1).all():
        raise ValueError("a clip would keep no modality")
    lost = ~kept
    changed = replace(inputs, text=_without_text(inputs, lost[:, 0]))
    for place, name in ((1, "audio"), (2, "vision")):
        features = np.where(lost[:, place, None, None], 0, getattr(inputs, name))
        lengths = getattr(inputs, f"{name}_lengths")
        if lengths is not None and inputs.model_knows_masks:
            lengths = np.where(lost[:, place], 0, lengths)
        changed = replace(changed, **{name: features, f"{name}_lengths": lengths})
    return changed


def _without_text(inputs: Inputs, lost: np.ndarray) -> np.ndarray:
    text = np.array(inputs.text)
    if inputs.text_is_tokens:
        return _tokens_without(text, lost, inputs.model_knows_masks)
    text[lost] = 0
    return text


def _tokens_without(text: np.ndarray, lost: np.ndarray, knows_masks: bool) -> np.ndarray:
    """Tokens (N, 3, L), changed in place: hidden where clips lost them, or an empty sentence."""
    if knows_masks:
        text[lost, 1] = 0
    else:
        for row in np.flatnonzero(lost):  # the first and the last token: [CLS], [SEP]
            ids, mask = text[row, 0].copy(), text[row, 1]
            last = max(1, int(np.flatnonzero(mask)[-1])) if mask.any() else 1
            text[row] = 0
            text[row, 0, :2] = ids[0], ids[last]
            text[row, 1, :2] = 1
    return text


def without(fields: Mapping[str, Any], kept: Iterable[str], *, knows_masks: bool) -> dict[str, Any]:
    """A split's fields with the other modalities lost in every clip, as :func:`keep` loses them.

    Args:
        fields: of a feature file.
        kept: the modalities that stay.
        knows_masks: whether the model is told by lengths of 0 and hidden tokens.
    """
    changed = dict(fields)
    for name in set(MODALITIES) - set(kept):
        if name == "text":
            if "text_bert" in fields:
                tokens = np.array(fields["text_bert"])
                lost = np.ones(len(tokens), dtype=bool)
                changed["text_bert"] = _tokens_without(tokens, lost, knows_masks)
            if "text" in fields:
                changed["text"] = np.zeros_like(fields["text"])
            continue
        changed[name] = np.zeros_like(fields[name])
        if knows_masks and f"{name}_lengths" in fields:
            changed[f"{name}_lengths"] = np.zeros_like(fields[f"{name}_lengths"])
    return changed


def subset(count: int, names: Iterable[str]) -> np.ndarray:
    """P1: (N, 3), every clip keeps the named modalities."""
    named = set(names)
    return np.tile([modality in named for modality in MODALITIES], (count, 1))


def random_modalities(count: int, rate: float, *, seed: int) -> np.ndarray:
    """P2: (N, 3), each modality lost with probability ``rate``, at least one kept."""
    chance = np.random.default_rng(seed)
    kept = chance.uniform(size=(count, len(MODALITIES))) >= rate
    saved = chance.integers(0, len(MODALITIES), size=count)
    alone = ~kept.any(axis=1)
    kept[alone, saved[alone]] = True
    return kept


def drop_frames(inputs: Inputs, rate: float, *, seed: int) -> Inputs:
    """P3: frames are zeroed, tokens hidden from attention (their features zeroed), each with
    probability ``rate``; the first token stays."""
    chance = np.random.default_rng(seed)
    text = np.array(inputs.text)
    if inputs.text_is_tokens:
        hidden = chance.uniform(size=text[:, 1].shape) < rate
        hidden[:, 0] = False
        text[:, 1] = np.where(hidden, 0, text[:, 1])
    else:
        text[chance.uniform(size=text.shape[:2]) < rate] = 0
    changed: dict[str, Any] = {"text": text}
    for name in ("audio", "vision"):
        features = np.array(getattr(inputs, name))
        features[chance.uniform(size=features.shape[:2]) < rate] = 0
        changed[name] = features
    return replace(inputs, **changed)


def add_noise(inputs: Inputs, strength: float, *, seed: int) -> Inputs:
    """Normal noise on audio and vision, in standard deviations of each feature; padding stays."""
    chance = np.random.default_rng(seed)
    changed: dict[str, Any] = {}
    for name in ("audio", "vision"):
        features = np.asarray(getattr(inputs, name), dtype=np.float32)
        is_frame = np.asarray(features.any(axis=2))  # (N, T)
        spread = features[is_frame].std(axis=0) if is_frame.any() else np.zeros(features.shape[2])
        noise = chance.normal(size=features.shape).astype(np.float32) * strength * spread
        changed[name] = features + noise * is_frame[:, :, None]
    return replace(inputs, **changed)
