"""The network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Gated(nn.Module):
    """Each modality's mean frame, weighted by a gate that sees all three.

    Formula: h_m = ReLU(W_m · mean_t x_m),  g = softmax(V · [h_t; h_a; h_v]),  ŷ = w · Σ_m g_m h_m

    Args:
        args: the toolkit's; ``feature_dims`` are the widths of text, audio and vision, the rest are
            the values of ``gated.yaml``.
    """

    def __init__(self, args: Any) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(
            nn.Sequential(nn.Dropout(args.dropout), nn.Linear(width, args.hidden), nn.ReLU())
            for width in args.feature_dims
        )
        self.gate = nn.Linear(3 * args.hidden, 3)
        self.score = nn.Linear(args.hidden, 1)

    def forward(self, text: Any, audio: Any, vision: Any) -> dict[str, Tensor]:
        """(B, T, D) each, or a pair of frames and lengths where data are unaligned."""
        hidden = [
            encode(mean_frame(given))
            for encode, given in zip(self.encoders, (text, audio, vision), strict=True)
        ]
        weights = self.gate(torch.cat(hidden, dim=1)).softmax(dim=1)  # (B, 3)
        fused = (torch.stack(hidden, dim=1) * weights[:, :, None]).sum(dim=1)  # (B, H)
        return {"M": self.score(fused)}


def mean_frame(given: Any) -> Tensor:
    """The mean over a clip's own frames, (B, D); 0 where it has none."""
    if not isinstance(given, (tuple, list)):
        return given.mean(dim=1)
    frames, lengths = given
    counts = lengths.to(frames.device).view(-1, 1)
    counted = torch.arange(frames.shape[1], device=frames.device)[None, :] < counts  # (B, T)
    return (frames * counted[:, :, None]).sum(dim=1) / counts.clamp(min=1)
