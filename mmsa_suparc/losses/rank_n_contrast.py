"""A rival for continuous labels: contrast by rank instead of by threshold and margin."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mmsa_suparc.losses.pairs import same_clip, score_differences


def rank_n_contrast_loss(features: Tensor, scores: Tensor, *, temperature: float = 2.0) -> Tensor:
    """Order distances to an anchor as the score differences are ordered.

    Formula::

        s_ij = −|f_i − f_j| / temperature,   Δ_ij = |y_i − y_j|
        L = mean over i and j ≠ i of −log( exp s_ij / Σ_{k≠i, Δ_ik ≥ Δ_ij} exp s_ik )

    Args:
        features: (B, D), any floating type; computed in float32 or wider.
        scores: (B,), score units.
        temperature: > 0.

    Returns:
        A scalar; 0 with a graph for a batch of one.

    Source:
        Zha et al., "Rank-N-Contrast: Learning Continuous Representations for Regression"
        (NeurIPS 2023), equation 1, without its two augmented views a sample.
    """
    if features.dtype != torch.float64:
        features = features.float()
    count = len(features)
    if count < 2:
        return features.sum() * 0.0
    with torch.autocast(device_type=features.device.type, enabled=False):
        itself = same_clip(scores.reshape(-1))  # (B, B)
        squared = (features[:, None] - features[None, :]).square().sum(dim=2)
        # √ has no finite gradient at 0: the diagonal, which is dropped, and identical vectors.
        zero = squared == 0
        distance = squared.masked_fill(zero, 1.0).sqrt().masked_fill(zero, 0.0)
        logits = -distance / temperature
    differences = score_differences(scores.reshape(-1))
    # (B, B, B): for anchor i and positive j, the k that are at least as far in score.
    farther = (differences[:, None, :] >= differences[:, :, None]) & ~itself[:, None, :]
    normaliser = torch.where(farther, logits[:, None, :], -math.inf).logsumexp(dim=2)
    return (normaliser - logits)[~itself].mean()


class RankNContrastLoss(nn.Module):
    """:func:`rank_n_contrast_loss` with its temperature held."""

    def __init__(self, temperature: float = 2.0) -> None:
        super().__init__()
        if not 0.0 < temperature < math.inf:
            raise ValueError(f"temperature is {temperature}; expected a finite number > 0")
        self.temperature = temperature

    def forward(self, features: Tensor, scores: Tensor) -> Tensor:
        """The loss of a batch: features (B, D), scores (B,) -> scalar."""
        return rank_n_contrast_loss(features, scores, temperature=self.temperature)
