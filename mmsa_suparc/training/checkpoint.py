"""Weights on disk: written whole or not at all, and looked at before they are read."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from mmsa_suparc.data.files import write_atomically
from mmsa_suparc.errors import UserError
from mmsa_suparc.plain_files import refuse_irregular

#: Bytes of a weights file, and of the names and shapes at its beginning.
LARGEST_WEIGHTS, LARGEST_HEADER = 16 << 30, 4 << 20
#: Bytes that are hashed and then written while they are still in the processor's cache.
AT_ONCE = 1 << 20
#: What a safetensors file calls the types of numbers.
TYPE_NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2", torch.complex64: "C64",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


def save_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """A ``.safetensors`` file, or for any other suffix one that ``torch.load`` reads.

    Raises:
        DiskError: the previous file is untouched.
    """
    if path.suffix == ".safetensors":
        save_tensors(path, weights)
    else:
        save_torch(path, {n: tensor.detach().cpu().contiguous() for n, tensor in weights.items()})


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """A safetensors file, streamed out of the tensors' own memory.

    The library's functions build the file in memory, or say nothing of its checksum. Tensors that
    share memory (tied weights) are written once for each name.

    Returns:
        The file's SHA-256.

    Raises:
        DiskError: the previous file is untouched.
    """
    digest = hashlib.sha256()

    def write(file: BinaryIO) -> None:
        # Wide numbers first, so that each stands at a multiple of its own size.
        names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
        header: dict[str, Any] = {}
        end = 0
        for name in names:
            tensor, start = tensors[name], end
            end += tensor.numel() * tensor.element_size()
            header[name] = {
                "dtype": TYPE_NAMES[tensor.dtype],
                "shape": list(tensor.shape),
                "data_offsets": [start, end],
            }
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        head = len(text).to_bytes(8, "little") + text
        for content in chain([memoryview(head)], (_bytes_of(tensors[name]) for name in names)):
            for place in range(0, len(content), AT_ONCE):
                block = content[place : place + AT_ONCE]
                digest.update(block)
                file.write(block)

    write_atomically(path, write)
    return digest.hexdigest()


def _bytes_of(tensor: Tensor) -> memoryview:
    """A tensor's numbers where they lie; a copy of those that are on a device, or not in order."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data


def save_torch(path: Path, content: Any, **options: Any) -> None:
    """``torch.save``, whole or not at all.

    Raises:
        DiskError: the previous file is untouched.
    """

    def write(file: BinaryIO) -> None:
        telling: Any = _Telling(file)
        try:
            torch.save(content, telling, **options)
        except RuntimeError:
            if telling.error is None:
                raise
        if telling.error is not None:
            raise telling.error

    write_atomically(path, write)


class _Telling:
    """A file that remembers why it could not be written: torch raises another error, without the
    reason."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, content: memoryview) -> int:
        try:
            return self._file.write(content)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()


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
