"""Feature files written array by array: the pickle that ``pickle.load`` of any Python reads.

``pickle.dump`` keeps the bytes of every array until the end, a second copy of all. Here the same
instructions are written one after the other, without places to remember; a large array may come in
:class:`Blocks`, of which one at a time is in memory.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, BinaryIO

import numpy as np

_CODE = {opcode.name: opcode.code.encode("latin-1") for opcode in pickletools.opcodes}
#: The newest one that the toolkit's Python versions read.
_PROTOCOL = 4


@dataclass(frozen=True)
class Blocks:
    """An array whose rows are made while it is written, some at a time.

    Args:
        shape: of the whole.
        dtype: of its numbers.
        blocks: the rows in their order; gone through once.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    blocks: Iterator[np.ndarray]

    def whole(self) -> np.ndarray:
        """The array, in memory."""
        array = np.empty(self.shape, self.dtype)
        start = 0
        for block in self.blocks:
            array[start : start + len(block)] = block
            start += len(block)
        return array


Split = Iterable[tuple[str, np.ndarray | Blocks]]


def dump(splits: Iterable[tuple[str, Split]], file: BinaryIO) -> None:
    """Write splits of arrays as a dictionary of dictionaries, in the order in which they come."""
    file.write(_CODE["PROTO"] + bytes([_PROTOCOL]) + _CODE["EMPTY_DICT"] + _CODE["MARK"])
    for split, fields in splits:
        file.write(_value(split) + _CODE["EMPTY_DICT"] + _CODE["MARK"])
        for name, array in fields:
            file.write(_value(name))
            _write_array(array, file)
        file.write(_CODE["SETITEMS"])
    file.write(_CODE["SETITEMS"] + _CODE["STOP"])


def _write_array(array: np.ndarray | Blocks, file: BinaryIO) -> None:
    """As numpy says that it be made again: an empty one, then its state with the data last."""
    empty: Any = np.empty(0, array.dtype).__reduce__()
    make, arguments, (version, _, kind, fortran, _) = empty
    length = prod(array.shape) * array.dtype.itemsize
    file.write(_value(make) + _value(arguments) + _CODE["REDUCE"] + _CODE["MARK"])
    for part in (version, array.shape, kind, fortran):
        file.write(_value(part))
    file.write(_CODE["BINBYTES8"] + struct.pack("<Q", length))
    written = 0
    for block in array.blocks if isinstance(array, Blocks) else [array]:
        flat = np.ascontiguousarray(block, array.dtype).reshape(-1)
        written += file.write(flat.view(np.uint8).data)
    if written != length:
        raise ValueError(f"{written} bytes for an array of {length}")
    file.write(_CODE["TUPLE"] + _CODE["BUILD"])


def _value(value: Any) -> bytes:
    """The instructions for what an array's state is made of."""
    if value is None:
        return _CODE["NONE"]
    if isinstance(value, bool):
        return _CODE["NEWTRUE" if value else "NEWFALSE"]
    if isinstance(value, int):
        return _CODE["BININT"] + struct.pack("<i", value)
    if isinstance(value, bytes):
        return _CODE["BINBYTES"] + struct.pack("<I", len(value)) + value
    if isinstance(value, str):
        text = value.encode()
        return _CODE["BINUNICODE"] + struct.pack("<I", len(text)) + text
    if isinstance(value, tuple):
        return _CODE["MARK"] + b"".join(map(_value, value)) + _CODE["TUPLE"]
    if isinstance(value, np.dtype):
        made: Any = value.__reduce__()
        make, arguments, state = made
        parts = (_value(make), _value(arguments), _CODE["REDUCE"], _value(state), _CODE["BUILD"])
        return b"".join(parts)
    return _value(value.__module__) + _value(value.__qualname__) + _CODE["STACK_GLOBAL"]
