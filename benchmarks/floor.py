"""What an epoch cannot go below: its matrix products, LSTMs and optimiser steps, alone.

The calls of a real epoch are written down with their shapes, then repeated with tensors that lie
ready: nothing of casts, normalisations, dropout, losses or Python.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

aten = torch.ops.aten
KINDS = {
    "products": (aten.mm, aten.addmm, aten.bmm, aten.baddbmm),
    "LSTMs": (aten.mkldnn_rnn_layer, aten.mkldnn_rnn_layer_backward),
    "optimiser": (aten._fused_adamw_,),
}


class Shape(tuple[Any, ...]):
    """A tensor without its numbers: shape, strides, type."""


class Calls(TorchDispatchMode):
    """Counts the calls of :data:`KINDS` by what they were given."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[Any] = Counter()
        self.examples: dict[Any, tuple[str, Any, Any, Any]] = {}

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        for kind, functions in KINDS.items():
            if function.overloadpacket in functions:
                shapes = tree_map(_shape, (args, kwargs or {}))
                key = repr((function, shapes))
                self.counts[key] += 1
                self.examples[key] = (kind, function, *shapes)
        return function(*args, **(kwargs or {}))


def floor(epoch: Callable[[], object]) -> dict[str, float]:
    """Seconds of each kind in an epoch, by repeating its calls."""
    with Calls() as calls:
        epoch()
    seconds = dict.fromkeys(KINDS, 0.0)
    for key, count in calls.counts.items():
        kind, function, args, kwargs = calls.examples[key]
        args, kwargs = tree_map(_tensor, (args, kwargs))
        seconds[kind] += count * _seconds(lambda f=function, a=args, k=kwargs: f(*a, **k))  # type: ignore[misc]
    return seconds


def _seconds(call: Callable[[], object]) -> float:
    """The median of a few."""
    call()
    times = []
    for _ in range(7):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return sorted(times)[3]


def _shape(value: Any) -> Any:
    if isinstance(value, Tensor):
        return Shape((tuple(value.shape), value.stride(), value.dtype))
    return value


def _tensor(value: Any) -> Any:
    if isinstance(value, Shape):
        shape, strides, dtype = value
        return torch.empty_strided(shape, strides, dtype=dtype).zero_()
    return value
