"""Device and precision: the only device-specific lines of the project."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from mmsa_suparc.errors import UserError
from mmsa_suparc.training import processes
from mmsa_suparc.training.cuda import absent

Precision = Literal["auto", "fp32", "bf16", "fp16"]


def find_device(name: str | None) -> torch.device:
    """``cpu``, ``cuda``, ``cuda:1``, ``mps``; None or ``auto`` takes CUDA where there is one.

    Under a launcher each process takes the GPU of its own number.

    Raises:
        UserError: no such device here.
    """
    if processes.count() > 1 and name in ("auto", "cuda"):
        name = None
    if name in (None, "auto"):
        return torch.device(f"cuda:{_own_gpu()}" if torch.cuda.is_available() else "cpu")
    if processes.count() > 1 and name != "cpu":
        raise UserError(
            f"--device {name}: one device for {processes.count()} processes; expected cpu or cuda"
        )
    try:
        device = torch.device(str(name))
    except RuntimeError:
        raise UserError(f"--device {name}: no such device; expected cpu, cuda or cuda:N") from None
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            raise absent(str(name), count)
    elif device.type == "mps":
        if not torch.backends.mps.is_available():
            raise UserError(f"--device {name}: not on this machine; expected cpu")
    elif device.type != "cpu":
        raise UserError(f"--device {name}: not supported; expected cpu, cuda or cuda:N")
    return device


def _own_gpu() -> int:
    """The number of this process's GPU among those that it sees.

    Raises:
        UserError: there are fewer of them than processes on this machine.
    """
    own, count = processes.number_on_machine(), torch.cuda.device_count()
    if count == 1:  # of its own, as Slurm gives one to each task
        return 0
    if own >= count:
        raise UserError(
            f"process {own} of this machine sees {count} CUDA devices; expected one a process: "
            "start fewer processes, or name --device cpu"
        )
    return own


@dataclass(frozen=True)
class Runtime:
    """Where tensors live and in which precision the forward pass runs."""

    device: torch.device
    precision: Literal["fp32", "bf16", "fp16"]

    @classmethod
    def choose(cls, device: torch.device, precision: Precision = "auto") -> Runtime:
        """``auto``: bf16 where CUDA cards and CPUs multiply it; fp16 on older cards; else fp32."""
        if precision == "auto":
            precision = _fast_precision(device)
        elif precision == "fp32" and device.type == "cuda":  # not the products' shorter TF32
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        if precision == "fp16" and device.type == "cpu":
            raise UserError("precision fp16 needs a CUDA device; expected bf16 or fp32 on a CPU")
        processes.connect(device)
        return cls(device, precision)

    def accelerator(self, *, unused_parameters: bool = False) -> Any:
        """A new ``accelerate.Accelerator``: device placement, mixed precision, gradient scaling,
        clipping, and DDP where there are several processes.

        Args:
            unused_parameters: whether a step may leave parameters without a gradient, which DDP
                then looks for at every step.

        Its state is one a process; the one made last is the one in force.
        """
        from accelerate import Accelerator, DistributedDataParallelKwargs
        from accelerate.state import AcceleratorState

        AcceleratorState._reset_state(reset_partial_state=processes.count() == 1)
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
        accelerator = Accelerator(
            cpu=self.device.type == "cpu",
            mixed_precision="no" if self.precision == "fp32" else self.precision,
            kwargs_handlers=[
                DistributedDataParallelKwargs(
                    find_unused_parameters=unused_parameters,
                    broadcast_buffers=False,  # they are constants
                    gradient_as_bucket_view=True,
                )
            ],
        )
        accelerator.gradient_accumulation_steps = 1  # the loop weighs the batches of a group
        return accelerator

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """The context of a forward pass."""
        if self.precision == "fp32":
            return contextlib.nullcontext()
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float16
        return torch.autocast(device_type=self.device.type, dtype=dtype)

    @property
    def fuses_optimiser(self) -> bool:
        """Whether AdamW has a kernel here that updates all weights at once."""
        version = tuple(int(part) for part in torch.__version__.split(".")[:2])
        return self.device.type == "cuda" or (self.device.type == "cpu" and version >= (2, 4))

    def generators(self) -> tuple[Tensor, ...]:
        """The state of the generators that dropout draws from."""
        states = [torch.get_rng_state()]
        if self.device.type == "cuda":
            states.append(torch.cuda.get_rng_state(self.device))
        return tuple(states)

    @contextlib.contextmanager
    def repeating(self, states: tuple[Tensor, ...]) -> Iterator[None]:
        """Within this block the same random numbers come again; after it, those that follow."""
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.set_rng_state(states[0])
            if self.device.type == "cuda":
                torch.cuda.set_rng_state(states[1], self.device)
            yield


def _fast_precision(device: torch.device) -> Literal["fp32", "bf16", "fp16"]:
    if device.type == "cuda":
        return "bf16" if _card_has_bf16() else "fp16"
    return "bf16" if device.type == "cpu" and cpu_has_bf16() else "fp32"


def _card_has_bf16() -> bool:
    """Whether the card multiplies bf16 itself; older ones only emulate it, slowly."""
    if "including_emulation" in inspect.signature(torch.cuda.is_bf16_supported).parameters:
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cuda.is_bf16_supported())


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bf16 in hardware (AVX512-BF16 or AMX)."""
    has = getattr(torch.cpu, "_is_avx512_bf16_supported", None) or (lambda: False)
    amx = getattr(torch.cpu, "_is_amx_tile_supported", None) or (lambda: False)
    return bool(has() or amx())
