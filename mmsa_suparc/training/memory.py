"""How much memory this process has taken at most."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import torch

MEBI = 2**20


def forget_peak(device: torch.device) -> None:
    """The GPU's peak is counted from now on; that of the process cannot be forgotten."""
    if device.type == "cuda":
        torch.cuda.init()
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> dict[str, float]:
    """Columns of a training's history, in MiB.

    Returns:
        ``peak_process_mib``: the most that this process has held in RAM since it began, with its
        libraries and data; absent where the system does not tell (Windows). On CUDA also
        ``peak_gpu_mib``: the most that torch has allocated for tensors since
        :func:`forget_peak`, without what it keeps in reserve.
    """
    resident = _peak_resident()
    found = {} if resident is None else {"peak_process_mib": resident / MEBI}
    if device.type == "cuda":
        found["peak_gpu_mib"] = torch.cuda.max_memory_allocated(device) / MEBI
    return found


def _peak_resident() -> int | None:
    """Bytes. Linux's ``ru_maxrss`` will not do: it survives exec, so that a cell would be charged
    with what the process that started it had held."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    with contextlib.suppress(ImportError):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return None
