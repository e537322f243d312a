"""A rival for continuous labels: contrast by rank instead of by threshold and margin."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from mmsa_suparc.losses.pairs import TOLERANCE, same_clip, score_differences, unit_vectors

Similarity = Literal["distance", "cosine"]


def rank_n_contrast_loss(
    features: Tensor,
    scores: Tensor,
    *,
    temperature: float = 2.0,
    similarity: Similarity = "distance",
) -> Tensor:
    """Order similarities to an anchor as the score differences are ordered.

    Formula::

        s_ij = −|f_i − f_j| / temperature   (distance)
        s_ij = cos(f_i, f_j) / temperature  (cosine),   Δ_ij = |y_i − y_j|
        L = mean over i and j ≠ i of −log( exp s_ij / Σ_{k≠i, Δ_ik ≥ Δ_ij} exp s_ik )

    Args:
        features: (B, D), any floating type; computed in float32 or wider.
        scores: (B,), score units.
        temperature: > 0.
        similarity: ``cosine`` is the form that HSCL gives to its fusion vectors.

    Returns:
        A scalar; 0 with a graph for a batch of one.

    Source:
        Zha et al., "Rank-N-Contrast: Learning Continuous Representations for Regression"
        (NeurIPS 2023), equation 1, without its two augmented views a sample. Cosine: Chen et al.,
        "Hierarchical Supervised Contrastive Learning for Multimodal Sentiment Analysis" (MMM
        2024), of which this is the loss on the fusion vectors alone, one view a clip.
    """
    if features.dtype != torch.float64:
        features = features.float()
    count = len(features)
    if count < 2:
        return features.sum() * 0.0
    with torch.autocast(device_type=features.device.type, enabled=False):
        itself = same_clip(scores.reshape(-1))  # (B, B)
        if similarity == "cosine":
            z = unit_vectors(features)
            logits = z @ z.T / temperature
        else:
            logits = -_distances(features) / temperature
    differences = score_differences(scores.reshape(-1))
    # (B, B, B): for anchor i and positive j, the k that are at least as far in score.
    as_far = differences[:, None, :] >= differences[:, :, None] - TOLERANCE
    farther = as_far & ~itself[:, None, :]
    normaliser = torch.where(farther, logits[:, None, :], -math.inf).logsumexp(dim=2)
    return (normaliser - logits).masked_fill(itself, 0.0).sum() / (count * (count - 1))


def _distances(features: Tensor) -> Tensor:
    """(B, B) Euclidean distances."""
    squared = (features[:, None] - features[None, :]).square().sum(dim=2)
    # √ has no finite gradient at 0: the diagonal, which is dropped, and identical vectors.
    zero = squared == 0
    return squared.masked_fill(zero, 1.0).sqrt().masked_fill(zero, 0.0)


class RankNContrastLoss(nn.Module):
    """:func:`rank_n_contrast_loss` with its numbers held."""

    def __init__(self, temperature: float = 2.0, similarity: Similarity = "distance") -> None:
        super().__init__()
        if not 0.0 < temperature < math.inf:
            raise ValueError(f"temperature is {temperature}; expected a finite number > 0")
        if similarity not in get_args(Similarity):
            raise ValueError(f"similarity is {similarity!r}; expected {get_args(Similarity)}")
        self.temperature = temperature
        self.similarity = similarity

    def forward(self, features: Tensor, scores: Tensor) -> Tensor:
        """The loss of a batch: features (B, D), scores (B,) -> scalar."""
        return rank_n_contrast_loss(
            features, scores, temperature=self.temperature, similarity=self.similarity
        )
