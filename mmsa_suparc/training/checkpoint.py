"""Weights on disk: written whole or not at all, and looked at before they are read."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from mmsa_suparc.data.files import write_atomically
from mmsa_suparc.errors import UserError
from mmsa_suparc.plain_files import refuse_irregular

#: Bytes of a weights file, and of the names and shapes at its beginning.
LARGEST_WEIGHTS, LARGEST_HEADER = 16 << 30, 4 << 20


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


def shapes_of(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of a weights file's tensors, of which none is read.

    Raises:
        UserError: no such file, or none of ours.
    """
    refuse_irregular(path, largest=LARGEST_WEIGHTS)
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if header > LARGEST_HEADER:
        raise UserError(f"{path}: no safetensors file of weights")
    with _safetensors(path), safe_open(path, framework="pt") as content:
        names = content.keys()
        return {name: tuple(content.get_slice(name).get_shape()) for name in names}


def load_finite(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file.

    Raises:
        UserError: one holds numbers that are not finite, which would score every clip alike.
    """
    with _safetensors(path):
        weights: dict[str, Tensor] = load_file(path)
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise UserError(f"{path}: {name} holds numbers that are not finite; train again")
    return weights


@contextlib.contextmanager
def _safetensors(path: Path) -> Iterator[None]:
    try:
        yield
    except SafetensorError as error:
        raise UserError(f"{path}: no safetensors file of weights ({error})") from None
