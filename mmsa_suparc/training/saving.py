"""When a training is saved, and the thread that writes while the next epoch computes."""

from __future__ import annotations

import contextlib
import copy
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Literal

import torch
from torch import Tensor

from mmsa_suparc.training.state import State, StateFolder

#: Of the time of a training, at most so much is for saving, where ``save_every`` is ``auto``.
SHARE = 0.1
#: Bytes, of which each tensor in a :class:`HostMemory` begins at a multiple.
ALIGNED = 64


class Saving:
    """Saves a training after its epochs; one process of several has ``states``.

    At the end of each epoch the state is copied, once and always into the same memory; a thread
    writes the copy while the next epoch computes, at most one at a time. Where ``every`` leaves an
    epoch out, its copy stays: leaving the ``with`` block, for whatever reason, writes the last
    finished epoch's if that was not done, and waits.

    A write that failed is raised (``DiskError``) in the training, at its next step or here.

    Args:
        states: where to; None: nothing is saved.
        every: ``auto`` saves after the first epoch, and from then on where all that saving has
            cost so far, this state and the last epoch's, which must come, are at most a tenth of
            the time of the training; a number saves after each epoch that it divides.
    """

    def __init__(self, states: StateFolder | None, every: Literal["auto"] | int) -> None:
        self._states, self._every = states, every
        self._memory = HostMemory()
        self._unwritten: tuple[int, State] | None = None
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._started = time.perf_counter()
        #: Seconds that the training stood still, that the thread worked, and its last write.
        self._waited = self._wrote = self._last = 0.0

    @property
    def seconds(self) -> tuple[float, float]:
        """For which the training stood still, and for which the thread wrote beside it."""
        return self._waited, self._wrote

    def __enter__(self) -> Saving:
        self._started = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._error is None or error is not self._error:
                self._finish()
        finally:
            self._memory.free()

    def watched(self, should_stop: Callable[[], bool]) -> Callable[[], bool]:
        """The same question, which also tells of a write that failed meanwhile."""

        def ask() -> bool:
            self._tell()
            return should_stop()

        return ask

    def keep(self, epoch: int, capture: Callable[[], State]) -> None:
        """The state after an epoch: copied now, written where it is due.

        Raises:
            DiskError: the write before failed.
        """
        if self._states is None:
            return
        with self._standing_still():
            self._wait()
            self._unwritten = None  # its memory is written over
            self._unwritten = epoch, self._copied(capture())
        if self._is_due(epoch):
            state, self._unwritten = self._unwritten, None
            self._thread = threading.Thread(target=self._write, args=state, daemon=True)
            self._thread.start()

    def _copied(self, state: State) -> State:
        """The best weights are a copy already, which nobody changes."""
        tensors = self._memory.copy(state.tensors)
        return replace(state, tensors=tensors, numbers=copy.deepcopy(state.numbers))

    def _is_due(self, epoch: int) -> bool:
        if self._every != "auto":
            return epoch % self._every == 0
        if self._last == 0.0:
            return True
        trained = time.perf_counter() - self._started - self._waited
        return self._waited + self._wrote + 2 * self._last <= SHARE * trained

    def _write(self, epoch: int, state: State) -> None:
        assert self._states is not None
        started = time.perf_counter()
        try:
            self._states.save(epoch, state)
        except BaseException as error:  # raised where the training sees it
            self._error = error
        self._last = time.perf_counter() - started
        self._wrote += self._last

    def _finish(self) -> None:
        """The last finished epoch's state is on the disk after this."""
        with self._standing_still():
            self._wait()
            if self._unwritten is not None and self._states is not None:
                self._states.save(*self._unwritten)
                self._unwritten = None

    def _wait(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._tell()

    def _tell(self) -> None:
        if self._error is not None:
            raise self._error

    @contextlib.contextmanager
    def _standing_still(self) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self._waited += time.perf_counter() - started


class HostMemory:
    """Memory on the CPU for copies of tensors: the next copies overwrite those before.

    It is as large as the tensors. For those of a GPU its pages are locked, so that all copies run
    at the full speed of the bus with one wait. (PyTorch's own pinned memory comes in powers of
    two: up to twice as much.)
    """

    def __init__(self) -> None:
        self._bytes = torch.empty(0, dtype=torch.uint8)
        self._locked = False

    def copy(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors' values as they are now, on the CPU; valid until the next call."""
        starts, size = [], 0
        for tensor in tensors.values():
            starts.append(size)
            size += -(-tensor.numel() * tensor.element_size() // ALIGNED) * ALIGNED
        on_gpu = any(tensor.is_cuda for tensor in tensors.values())
        if size > len(self._bytes):
            self.free()
            self._bytes = torch.empty(size, dtype=torch.uint8)
            self._locked = on_gpu and _lock(self._bytes)
        copies = {}
        for start, (name, tensor) in zip(starts, tensors.items(), strict=True):
            length = tensor.numel() * tensor.element_size()
            place = self._bytes[start : start + length].view(tensor.dtype).view(tensor.shape)
            copies[name] = place.copy_(tensor.detach(), non_blocking=tensor.is_cuda)
        if on_gpu:
            torch.cuda.synchronize()
        return copies

    def free(self) -> None:
        """Give it back; what was copied is not valid any more."""
        if self._locked:
            torch.cuda.cudart().cudaHostUnregister(self._bytes.data_ptr())
            self._locked = False
        self._bytes = torch.empty(0, dtype=torch.uint8)


def _lock(memory: Tensor) -> bool:
    """Have CUDA lock these pages; False where the system does not let it, which only costs time."""
    status = torch.cuda.cudart().cudaHostRegister(memory.data_ptr(), len(memory), 0)
    return int(status) == 0
