"""What the steps of an epoch gave, kept on the device and looked at from time to time.

Reading a number from a GPU makes the host wait for all that the GPU has still to do. So losses,
gradient norms and whether each clip's score is finite stay there, and are read together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import isfinite

import torch
from torch import Tensor

from mmsa_suparc.errors import DivergedError

#: Steps between two looks.
LOOK = 20


@dataclass(frozen=True)
class _Step:
    """One step's values, on the device."""

    number: int
    places: Tensor  # (B,), on the CPU
    losses: Tensor  # (1 + terms,): the total, then the terms
    finite: Tensor  # (B,) bool
    norm: Tensor | None  # of the gradient, where the parameters were changed


@dataclass
class Tally:
    """The losses of an epoch.

    Args:
        epoch: for messages.
        names_of: the names of clips by their places, (K,) -> K.
    """

    epoch: int
    names_of: Callable[[Tensor], list[str]]
    _steps: list[_Step] = field(default_factory=list)
    _names: list[str] = field(default_factory=list)
    _sums: dict[str, float] = field(default_factory=dict)
    _clips: int = 0

    def add(
        self,
        step: int,
        places: Tensor,
        total: Tensor,
        terms: dict[str, Tensor],
        finite: Tensor,
        norm: Tensor | None,
    ) -> None:
        """Keep a step.

        Args:
            step: its number in the epoch, from 1.
            places: (B,) of its clips in the split, on the CPU.
            total: the loss.
            terms: its terms by name.
            finite: (B,) bool, which clips' scores are.
            norm: of the gradient, where the parameters were changed by it and it has to be
                finite.

        Raises:
            DivergedError: as :meth:`look`, every :data:`LOOK` steps.
        """
        self._names = ["loss", *(f"loss_{name}" for name in terms)]
        losses = torch.stack([total, *terms.values()]).detach()
        self._steps.append(_Step(step, places, losses, finite, norm))
        if len(self._steps) >= LOOK:
            self.look()

    @property
    def loss(self) -> float | None:
        """The mean over the clips that were looked at; none before the first look."""
        return self._sums["loss"] / self._clips if self._clips else None

    def look(self) -> None:
        """Read what was kept.

        Raises:
            DivergedError: a loss or a gradient that is not finite: the first one, by epoch, step
                and term, and the clips of that step whose scores are not.
        """
        if not self._steps:
            return
        losses = torch.stack([step.losses for step in self._steps]).tolist()
        norms = [step.norm for step in self._steps if step.norm is not None]
        known = iter(torch.stack(norms).tolist() if norms else ())
        for step, values in zip(self._steps, losses, strict=True):
            if not all(map(isfinite, values)):
                raise self._diverged(step, values)
            if step.norm is not None and not isfinite(norm := next(known)):
                raise DivergedError(
                    f"epoch {self.epoch}, step {step.number}: the gradient is {norm}; lower the "
                    "learning rates"
                )
            for name, value in zip(self._names, values, strict=True):
                self._sums[name] = self._sums.get(name, 0.0) + value * len(step.places)
            self._clips += len(step.places)
        self._steps.clear()

    def means(self) -> dict[str, float]:
        """Over all clips: ``loss`` and ``loss_<term>``."""
        self.look()
        return {name: value / self._clips for name, value in self._sums.items()}

    def _diverged(self, step: _Step, values: list[float]) -> DivergedError:
        by_name = reversed(list(zip(self._names, values, strict=True)))
        name, value = next((n, v) for n, v in by_name if not isfinite(v))
        clips = self.names_of(step.places[~step.finite.cpu()])
        where = f"; clips {', '.join(clips[:5])}{' …' if len(clips) > 5 else ''}" if clips else ""
        return DivergedError(
            f"epoch {self.epoch}, step {step.number}: the term '{name.removeprefix('loss_')}' is "
            f"{value}{where}; check the features, or lower the learning rates or the term's weight"
        )
