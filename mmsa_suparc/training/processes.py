"""Several processes that train one model: who they are, and what they tell each other.

Every process knows the whole data and the whole order of the clips; of each batch it computes
its own part. ``torchrun`` and ``accelerate launch`` start them; without either there is one
process, and everything here passes its argument through.

They may be on machines that share nothing. What one fails with while the others wait for its word,
they end with too, so none waits for a process that is no more.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from mmsa_suparc.errors import SupArcError, in_a_line

Value = TypeVar("Value")
#: What a launcher sets, all of it.
_LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


def count() -> int:
    """N, the number of processes."""
    return int(os.environ["WORLD_SIZE"]) if _launched() else 1


def number() -> int:
    """This one, from 0 to N - 1."""
    return int(os.environ["RANK"]) if _launched() else 0


def number_on_machine() -> int:
    """This one among those on its machine."""
    return int(os.environ["LOCAL_RANK"]) if _launched() else 0


def is_main() -> bool:
    """Whether this is the process that writes."""
    return number() == 0


def _launched() -> bool:
    return all(name in os.environ for name in _LAUNCHED)


def connect(device: torch.device) -> None:
    """Meet the others: nccl between GPUs, gloo between CPUs. Nothing to do where alone."""
    if count() > 1:
        from accelerate import PartialState

        PartialState(cpu=device.type == "cpu")


def part_of(batch: Tensor) -> Tensor:
    """This process's places of a batch (B,).

    All parts have ⌈B / N⌉ places: the last ones are filled up by repeating the last clip, which
    :func:`gather` drops again.
    """
    size = -(-len(batch) // count())
    filled = torch.cat([batch, batch[-1:].expand(size * count() - len(batch))])
    return filled[number() * size :][:size]


def gather(part: Tensor, length: int) -> Tensor:
    """The whole batch (B, ...) from the parts (⌈B / N⌉, ...) of all processes.

    Only this process's own part carries a gradient. Each process then computes the same loss L
    of the whole batch, and the gradient of its own part of it: their sum over the processes is
    the gradient of L.
    """
    if count() == 1:
        return part
    parts = [torch.empty_like(part) for _ in range(count())]
    torch.distributed.all_gather(parts, part.detach().contiguous())
    parts[number()] = part
    return torch.cat(parts)[:length]


def any_of(flag: bool, device: torch.device | str = "cpu") -> bool:
    """Whether it is true in any process; the device is one that they can exchange tensors from."""
    if count() == 1:
        return flag
    raised = torch.tensor(int(flag), device=device)
    torch.distributed.all_reduce(raised, torch.distributed.ReduceOp.MAX)
    return bool(raised.item())


def from_all(value: Value) -> list[Value]:
    """The value of each process, in their order."""
    values: list[Any] = [None] * count()
    if count() == 1:
        return [value]
    torch.distributed.all_gather_object(values, value)
    return values


def from_main(value: Value) -> Value:
    """The main process's value; the others' is ignored.

    Raises:
        SupArcError: in the others, what the main process said that it failed with.
    """
    if count() == 1:
        return value
    box: list[Any] = [value]
    torch.distributed.broadcast_object_list(box)
    if isinstance(box[0], _Failure) and not is_main():
        raise box[0].error()
    told: Value = box[0]
    return told


@dataclass(frozen=True)
class _Failure:
    """What a process ends with, as the others are told."""

    process: int
    status: int
    line: str

    @classmethod
    def of(cls, error: SupArcError) -> _Failure:
        return cls(number(), error.status, str(error).partition("\n")[0])

    def error(self) -> SupArcError:
        error = SupArcError(f"ended with process {self.process}: {self.line}")
        error.status = self.status
        return error


def together(make: Callable[[], Value]) -> list[Value]:
    """What each process makes, in their order; what any fails with, all end with.

    Raises:
        SupArcError: this process's own, or else that of the first that failed.
    """
    try:
        mine: Value | _Failure = make()
        failed = None
    except SupArcError as error:
        mine, failed = _Failure.of(error), error
    everybody = from_all(mine)
    if failed is not None:
        raise failed
    for each in everybody:
        if isinstance(each, _Failure):
            raise each.error()
    return [each for each in everybody if not isinstance(each, _Failure)]


@contextlib.contextmanager
def telling() -> Iterator[None]:
    """What the main process does within this block while the others wait in :func:`from_main`:
    they end with what it fails with."""
    try:
        yield
    except SupArcError as error:
        if is_main():
            from_main(_Failure.of(error))
        raise


def by_main(make: Callable[[], Value]) -> Value | None:
    """What the main process makes, given to all; what it fails with, all end with."""
    value = None
    if is_main():
        with telling():
            value = make()
    return from_main(value)


@contextlib.contextmanager
def ending_together() -> Iterator[None]:
    """A process whose neighbour has died within a step says so in a line; the neighbour said why.

    Raises:
        SupArcError: the connection was lost.
    """
    try:
        yield
    except RuntimeError as error:
        lost = isinstance(error, torch.distributed.DistError) or "/gloo/" in str(error)
        if count() == 1 or not lost:
            raise
        raise SupArcError(
            f"another process has ended or cannot be reached; see what it said ({in_a_line(error)})"
        ) from None
