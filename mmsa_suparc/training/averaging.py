"""Averaged weights: what is validated and kept where a training is asked for them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

#: Of a state's tensors, those of the averages.
PREFIX = "average."


class Averages:
    """An exponential moving average of the weights that are trained.

    Formula: w̄ ← d · w̄ + (1 − d) · w after step n = 1, 2 …, with d = min(decay, (1 + n)/(10 + n)):
    early averages forget the random beginning at once.

    Args:
        model: what is averaged: its parameters that have a gradient.
        decay: in [0, 1); 0: no averages, and nothing here does anything.

    Source:
        Polyak and Juditsky (1992); the exponential form and the warm-up of d as in TensorFlow's
        ``ExponentialMovingAverage(num_updates=…)`` and Tarvainen and Valpola (NeurIPS 2017).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        trained: list[Tensor] = [weight for weight in model.parameters() if weight.requires_grad]
        self._weights = trained if decay > 0 else []
        self._averages = [weight.detach().clone() for weight in self._weights]

    @torch.no_grad()
    def update(self) -> None:
        """After an optimiser's step."""
        if not self._weights:
            return
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self._averages, self._weights, 1.0 - decay)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Within this block the model has the averages."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for weight, average in zip(self._weights, self._averages, strict=True):
            kept = weight.clone()
            weight.copy_(average)
            average.copy_(kept)

    def tensors(self) -> dict[str, Tensor]:
        """For a state: by their places."""
        return {f"{PREFIX}{place}": tensor for place, tensor in enumerate(self._averages)}

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor], steps: int) -> None:
        """From a state.

        Raises:
            LookupError, RuntimeError: it holds no averages, or of other weights.
        """
        for place, average in enumerate(self._averages):
            average.copy_(tensors[f"{PREFIX}{place}"])
        self.steps = steps
