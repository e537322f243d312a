"""Weights on disk, whole or not at all."""

from __future__ import annotations

from pathlib import Path

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
        write_atomically(path, lambda file: torch.save(weights, file))
