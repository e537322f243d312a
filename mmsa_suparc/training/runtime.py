"""Device and precision: the only device-specific lines of the project."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Literal

import torch

from mmsa_suparc.errors import UserError

Precision = Literal["auto", "fp32", "bf16", "fp16"]


def find_device(name: str | None) -> torch.device:
    """``cpu``, ``cuda``, ``cuda:1``, ``mps``; None or ``auto`` takes CUDA where there is one.

    Raises:
        UserError: no such device here.
    """
    if name in (None, "auto"):
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(str(name))
    except RuntimeError:
        raise UserError(f"--device {name}: no such device; expected cpu, cuda or cuda:N") from None
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            raise UserError(
                f"--device {name}: this machine has {count} CUDA device(s); use --device cpu"
            )
    elif device.type not in ("cpu", "mps"):
        raise UserError(f"--device {name}: not supported; expected cpu, cuda or cuda:N")
    return device


@dataclass(frozen=True)
class Runtime:
    """Where tensors live and in which precision the forward pass runs."""

    device: torch.device
    precision: Literal["fp32", "bf16", "fp16"]

    @classmethod
    def choose(cls, device: torch.device, precision: Precision = "auto") -> Runtime:
        """``auto``: bf16 on CUDA cards that have it and on CPUs with instructions for it."""
        if precision == "auto":
            if device.type == "cuda":
                fast = torch.cuda.is_bf16_supported()
            else:
                fast = device.type == "cpu" and cpu_has_bf16()
            precision = "bf16" if fast else "fp32"
        if precision == "fp16" and device.type == "cpu":
            raise UserError("precision fp16 needs a CUDA device; expected bf16 or fp32 on a CPU")
        return cls(device, precision)

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

    def gradient_scaler(self) -> torch.amp.GradScaler:
        """Scales the loss where fp16 needs it; elsewhere passes everything through."""
        return torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bf16 in hardware (AVX512-BF16 or AMX)."""
    has = getattr(torch.cpu, "_is_avx512_bf16_supported", None) or (lambda: False)
    amx = getattr(torch.cpu, "_is_amx_tile_supported", None) or (lambda: False)
    return bool(has() or amx())
