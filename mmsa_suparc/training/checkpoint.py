"""Weights on disk, whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmsa_suparc.data.files import write_atomically


def save_weights(path: Path, weights: dict[str, Tensor]) -> None:
    """A ``.safetensors`` file, or for any other suffix one that ``torch.load`` reads.

    Raises:
        DiskError: the previous file is untouched.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    if path.suffix == ".safetensors":
        from safetensors.torch import save

        # Tensors that share memory (tied weights) are written once for each name.
        content = save({name: tensor.clone() for name, tensor in weights.items()})
        write_atomically(path, lambda file: file.write(content))
    else:
        save_torch(path, weights)


def save_torch(path: Path, content: Any, **options: Any) -> None:
    """``torch.save``, whole or not at all.

    Written from memory: on a full disk torch itself raises a RuntimeError without the reason.
    """
    memory = io.BytesIO()
    torch.save(content, memory, **options)
    write_atomically(path, lambda file: file.write(memory.getbuffer()))
