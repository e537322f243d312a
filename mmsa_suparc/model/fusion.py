"""From three encodings to a fusion vector: what comes before the MLP, and the MLP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmsa_suparc.names import MODALITIES

FusionNorm = Literal["none", "layer_norm", "projection"]


class FusionMLP(nn.Sequential):
    """Formula: f = W₂ · ReLU(W₁ · [dropout([m_t; m_a; m_v]); p] + b₁) + b₂.

    p are the three presence flags, 0 or 1, where asked for: with a zero vector for an absent
    modality the MLP could only guess whether it is absent or its encoding is small.

    Args:
        inputs: width of the joined vectors.
        width: D, of the fusion vector.
        dropout: on the joined vectors, in [0, 1).
        presence_flags: whether p is appended, behind the dropout.
        shared_dropout: see :class:`SharedDropout`.

    Source:
        Presence flags: missingness indicators beside the imputed value, as in Lipton et al.,
        "Modeling Missing Data in Clinical Time Series with RNNs" (MLHC 2016).
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        *,
        dropout: float,
        presence_flags: bool = False,
        shared_dropout: bool = False,
    ) -> None:
        flags = len(MODALITIES) if presence_flags else 0
        super().__init__(
            SharedDropout(dropout) if shared_dropout else nn.Dropout(dropout),
            nn.Linear(inputs + flags, width),
            nn.ReLU(),
            nn.Linear(width, width),
        )
        self.presence_flags = presence_flags

    def forward(self, joined: Tensor, kept: Tensor) -> Tensor:  # type: ignore[override]  # two
        """joined (..., B, W), kept (..., B, 3) bool -> (..., B, D)."""
        dropout, *layers = self
        joined = dropout(joined)
        if self.presence_flags:
            joined = torch.cat([joined, kept.to(joined.dtype)], dim=-1)
        for layer in layers:
            joined = layer(joined)
        return joined


class SharedDropout(nn.Dropout):
    """Dropout of (..., B, W) by one mask (B, W): what is in front, subsets of a clip's modalities,
    is compared under the same noise.

    Source:
        One mask for all that is compared: Gal and Ghahramani, "A Theoretically Grounded
        Application of Dropout in Recurrent Neural Networks" (NeurIPS 2016), who share it over
        time steps; here it is shared over subsets.
    """

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.p == 0.0:
            return input
        return input * functional.dropout(torch.ones_like(input[(0,) * (input.ndim - 2)]), self.p)


def fusion_norms(
    kind: FusionNorm, widths: Sequence[int], common: int
) -> tuple[nn.ModuleList, tuple[int, ...]]:
    """What each encoding passes before it is masked and joined, and the widths after it.

    Args:
        kind: ``none``; ``layer_norm``: LayerNorm of each encoding (a BERT's first token, of norm
            15 or so, and a BiLSTM's states, within [−1, 1], then weigh alike); ``projection``: a
            linear layer to ``common`` before it, so that the three have one width as well.
        widths: of the text, audio and vision encodings.
        common: of a projection.

    Returns:
        Three modules, (..., W) -> (..., W'), and the three W'. A modality's mask vector stands
        in W'.

    Raises:
        ValueError: an unknown kind.

    Source:
        LayerNorm: Ba et al. (2016). A projection and a norm for each modality: Hazarika et al.,
        MISA (ACM MM 2020), ``project_t``, ``project_a``, ``project_v``.
    """
    if kind == "none":
        return nn.ModuleList(nn.Identity() for _ in widths), tuple(widths)
    if kind == "layer_norm":
        return nn.ModuleList(nn.LayerNorm(width) for width in widths), tuple(widths)
    if kind == "projection":
        return (
            nn.ModuleList(
                nn.Sequential(nn.Linear(width, common), nn.LayerNorm(common)) for width in widths
            ),
            (common,) * len(widths),
        )
    raise ValueError(f"fusion_norm is {kind!r}; expected one of {get_args(FusionNorm)}")
