"""Who is compared with whom, and on what: unit vectors, score differences, positive pairs."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

Sampling = Literal["threshold", "class", "rounded"]
#: Score units by which two score differences may differ and count as the same: scores are float32
#: (0.6 − 0.4 is a little more than 0.2), and labels are given to two or three decimals.
TOLERANCE = 1e-4
#: All clips of a batch.
EVERY = slice(None)


def unit_vectors(features: Tensor) -> Tensor:
    """L2-normalise vectors, computed in float32 or wider; a zero vector stays zero.

    Formula: z = f / |f|, and 0 with gradient 0 where f = 0 (dividing by a small constant
    instead would multiply the gradient there by its inverse).

    Args:
        features: (..., D), any floating type.

    Returns:
        (..., D), float32, or float64 for float64 input.
    """
    if features.dtype != torch.float64:
        features = features.float()
    # |f| is taken of f / max|f|: its squares neither overflow nor vanish. The scale cancels,
    # so leaving it out of the graph changes no gradient.
    scale = features.detach().abs().amax(dim=-1, keepdim=True)
    is_zero = scale == 0
    scaled = features / scale.masked_fill(is_zero, 1.0)
    squared_norm = scaled.square().sum(dim=-1, keepdim=True)
    return scaled / squared_norm.masked_fill(is_zero, 1.0).sqrt()


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """cos(a, b) of vectors (..., D) -> (...); 0 where one of them is zero."""
    return (unit_vectors(a) * unit_vectors(b)).sum(dim=-1)


def score_differences(scores: Tensor, rows: slice = EVERY) -> Tensor:
    """Δ_ij = |y_i − y_j| in score units, (B,) -> (R, B) for the anchors i in ``rows``."""
    return (scores[rows, None] - scores[None, :]).abs()


def same_clip(scores: Tensor, rows: slice = EVERY) -> Tensor:
    """Where i = j, (R, B), bool."""
    places = torch.arange(len(scores), device=scores.device)
    return places[rows, None] == places[None, :]


def positive_pairs(
    scores: Tensor, *, sampling: Sampling, threshold: float, rows: slice = EVERY
) -> Tensor:
    """Which j are positives of anchor i; i itself counts as one.

    Args:
        scores: (B,), score units.
        sampling: ``threshold``: Δ_ij ≤ threshold + TOLERANCE. ``class``: same sign of the score
            (negative, zero, positive), the usual supervised contrastive choice. ``rounded``: same
            score rounded to an integer, halves to the even one, which are the seven classes of
            the toolkit's ``Mult_acc_7``. Scores of a class differ, so that a margin on positives
            that grows with Δ_ij has something to grow with: 2.8 within a sign, 1 when rounded.
        threshold: in score units, ≥ 0; unused for classes.
        rows: the anchors.

    Returns:
        (R, B), bool.
    """
    if sampling == "threshold":
        return score_differences(scores, rows) <= threshold + TOLERANCE
    if sampling in ("class", "rounded"):
        classes = scores.sign() if sampling == "class" else scores.round()
        return classes[rows, None] == classes[None, :]
    raise ValueError(f"sampling is {sampling!r}; expected one of {get_args(Sampling)}")
