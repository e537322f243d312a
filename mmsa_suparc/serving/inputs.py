"""What a trained model is given: features as in a feature file, checked; SupArc's as tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from mmsa_suparc.data.batches import Clips
from mmsa_suparc.data.text import tokenise
from mmsa_suparc.errors import UserError
from mmsa_suparc.runs.servable import Serving
from mmsa_suparc.toolkit.features import without_blank
from mmsa_suparc.videos.recipe import FROM_VIDEO


def clips_of(features: Mapping[str, Any], served: Serving) -> Clips:
    """N clips as arrays; of their scores nothing is known.

    Args:
        features: see :meth:`SupArcPredictor.predict_features`.
        served: the model that is asked.

    Raises:
        UserError: a wrong width or shape, numbers that are not finite, unknown token ids.
    """
    count = count_of(features)
    if "text_bert" in features:
        tokens = np.asarray(features["text_bert"])
        tokens = without_blank(tokens, features.get("raw_text", ["some"] * count))
    else:
        texts = [str(text) for text in features.get("raw_text", [""] * count)]
        tokens = without_blank(tokenise(served.tokenizer, texts, length=served.tokens), texts)
    vocabulary = served.model.text_encoder.transformer.config.vocab_size
    if tokens.ndim != 3 or tokens.shape[1] != 3 or tokens[:, 0].max(initial=0) >= vocabulary:
        raise UserError(
            f"text_bert: shape {tokens.shape}, ids up to {int(tokens.max(initial=0))}; "
            f"expected (clips, 3, tokens) and ids below {vocabulary}"
        )
    inputs: dict[str, Any] = {}
    for name in FROM_VIDEO:
        frames, lengths = frames_of(features, name, served.widths[name], count)
        inputs[name] = torch.as_tensor(frames)
        inputs[f"{name}_lengths"] = torch.as_tensor(lengths)
    return Clips(
        text=torch.as_tensor(np.array(tokens)).long(),
        **inputs,
        scores=torch.zeros(count),
        index=torch.arange(count),
    )


def count_of(features: Mapping[str, Any]) -> int:
    """How many clips there are.

    Raises:
        UserError: none, or not as many of each field.
    """
    fields = ("raw_text", "text_bert", "text", *FROM_VIDEO)
    sizes = {name: len(features[name]) for name in fields if name in features}
    if not sizes or len(set(sizes.values())) != 1:
        raise UserError(f"features of {sizes or 'nothing'}; expected as many clips of each")
    return next(iter(sizes.values()))


def frames_of(
    features: Mapping[str, Any], name: str, width: int, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Frames (N, T, D) float32 and lengths (N,) of audio or vision; of a modality that is not
    named one frame of zeros, and lengths 0.

    Raises:
        UserError: a wrong width or shape, or numbers that are not finite.
    """
    lacking = name not in features
    frames = np.zeros((count, 1, width)) if lacking else np.asarray(features[name])
    if frames.ndim != 3 or frames.shape[2] != width:
        raise UserError(
            f"{name}: shape {frames.shape}; this model expects (clips, frames, {width}): "
            "features of another recipe?"
        )
    if not np.isfinite(frames).all():
        raise UserError(f"{name}: numbers that are not finite")
    full = [0 if lacking else frames.shape[1]] * count
    lengths = np.asarray(features.get(f"{name}_lengths", full)).reshape(-1)
    return frames.astype(np.float32), lengths.astype(np.int64)
