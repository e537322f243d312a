"""Frames on their way into a BiLSTM and out of it: standardised by the training split, pooled."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, get_args

import torch
from torch import Tensor, nn

SequencePooling = Literal["last", "mean", "attention"]
#: Clips whose frames are looked at together.
AT_ONCE = 256
#: A standard deviation below this share of the largest value is rounding: a constant.
RELATIVE = 1e-6


class Standardise(nn.Module):
    """Formula: (x − mean) / scale, a feature; by default nothing (mean 0, scale 1).

    Both numbers are a part of the weights: saved, served and exported with them, never trained.

    Args:
        width: D, values a frame.
    """

    mean: Tensor  # (D,)
    scale: Tensor  # (D,)

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    @torch.no_grad()
    def learn(self, frames: Tensor, lengths: Tensor) -> None:
        """Take mean and standard deviation from a training split.

        Frames beyond a clip's length do not count, nor do values that are not finite. A constant
        feature gets scale 1, one that no frame has mean 0 and scale 1.

        Args:
            frames: (N, T, D), any floating type.
            lengths: (N,), frames that count.
        """
        count = total = squares = largest = torch.zeros_like(self.mean, dtype=torch.float64)
        for values, counted in _counted(frames, lengths):
            count = count + counted.sum(dim=(0, 1)).to(count)
            total = total + values.sum(dim=(0, 1)).to(count)
            largest = torch.maximum(largest, values.abs().amax(dim=(0, 1)).to(count))
        mean = total / count.clamp(min=1)
        for values, counted in _counted(frames, lengths):
            deviation = (values - mean.to(values)) * counted
            squares = squares + deviation.square().sum(dim=(0, 1)).to(count)
        scale = (squares / count.clamp(min=1)).sqrt()
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(scale > RELATIVE * largest, scale, 1.0))

    def forward(self, frames: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        return (frames - self.mean) / self.scale


def _counted(frames: Tensor, lengths: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Some clips' values in float64, 0 where they do not count, and where they do."""
    places = torch.arange(frames.shape[1], device=frames.device)
    for start in range(0, len(frames), AT_ONCE):
        values = frames[start : start + AT_ONCE].double()
        within = places < lengths[start : start + AT_ONCE, None].to(places.device)
        counted = torch.isfinite(values) & within[:, :, None]
        yield values.masked_fill(~counted, 0.0), counted


class FramePooling(nn.Module):
    """One vector of a clip's states.

    Formula::

        mean:       u = Σ_t h_t / T
        attention:  u = Σ_t a_t h_t,  a = softmax over t of q · h_t / √W,  q learned

    q begins at 0: attention begins as the mean.

    Args:
        kind: ``mean`` or ``attention``.
        width: W, of a state.

    Source:
        A learned query over a BiLSTM's states: Yang et al., "Hierarchical Attention Networks for
        Document Classification" (NAACL 2016), without the layer between state and query.
    """

    def __init__(self, kind: SequencePooling, width: int) -> None:
        super().__init__()
        if kind not in ("mean", "attention"):
            raise ValueError(f"pooling is {kind!r}; expected one of {get_args(SequencePooling)}")
        self.query = nn.Parameter(torch.zeros(width)) if kind == "attention" else None

    def forward(self, states: Tensor, lengths: Tensor) -> Tensor:
        """The frames that count, pooled.

        Args:
            states: (B, T, W).
            lengths: (B,), a length of 0 is read as 1.

        Returns:
            (B, W).
        """
        lengths = lengths.to(states.device).clamp(min=1, max=states.shape[1])[:, None]
        counts = torch.arange(states.shape[1], device=states.device) < lengths  # (B, T)
        if self.query is None:
            weights = counts / lengths
        else:
            logits = states @ self.query / math.sqrt(states.shape[2])
            weights = logits.masked_fill(~counts, -math.inf).softmax(dim=1)
        # Chosen before it is multiplied: nothing of padding, whatever stands there.
        return (states.masked_fill(~counts[:, :, None], 0.0) * weights[:, :, None]).sum(dim=1)
