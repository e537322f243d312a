"""Which devices there are for torch; torch is loaded only where nothing else can tell."""

from __future__ import annotations

import ctypes
import sys
from importlib import metadata
from pathlib import Path

from mmsa_suparc.errors import UserError

#: What Linux calls graphics processors: NVIDIA's, those of its small boards, AMD's, Windows' host.
DEVICES = ("nvidia*", "nvhost*", "nvgpu*", "kfd", "dxg")


def has_cuda() -> bool:
    """What ``torch.cuda.is_available()`` says."""
    if "torch" not in sys.modules and _surely_none():
        return False
    import torch

    return torch.cuda.is_available()


def require(name: str) -> None:
    """Refuse a device of a kind that this machine has none of.

    Raises:
        UserError: names it.
    """
    if name.startswith("cuda") and not has_cuda():
        raise absent(name, 0)
    if name == "mps" and sys.platform != "darwin":
        raise UserError(f"--device {name}: not on this machine; expected cpu")


def absent(name: str, count: int) -> UserError:
    """What to say where there are fewer CUDA devices."""
    return UserError(f"--device {name}: this machine has {count} CUDA device(s); use --device cpu")


def _surely_none() -> bool:
    """A torch that was built without, or neither a device nor NVIDIA's driver."""
    if metadata.version("torch").endswith("+cpu"):
        return True
    if any(any(Path("/dev").glob(pattern)) for pattern in DEVICES):
        return False
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return True
    return False
