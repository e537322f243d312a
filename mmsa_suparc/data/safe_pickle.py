"""Unpickling that cannot run code and cannot be made to use more than a file's worth of memory.

A feature file is a pickle, and a pickle is a program. Three fences, in this order:

1. a scan of the instructions, before any is executed: only those that arrays, strings and
   numbers need, no claimed length or memo place beyond what the file can hold, nothing after
   the end;
2. an exact list of the names that may be looked up, none of which leads to code of another
   library: arrays and their types are rebuilt by the small classes below;
3. an exact list of what may come out: dictionaries of dictionaries of arrays of numbers or
   strings, or flat lists of those.

There is no fallback to the ordinary unpickler. This is the only module of the project that
touches ``pickle`` or ``torch.load``; a test holds that.

The data of a large array are not read: they lie in the file as they would in memory, so the
array is a memory map of that part of the file.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

#: Most instructions, containers and memo places of an acceptable file.
MOST_INSTRUCTIONS = 1_000_000
MOST_CONTAINERS = 400_000
LONGEST_LINE = 65_536
LONGEST_INTEGER = 16  # bytes

#: Containers inside each other in files of other programs.
DEEPEST = 6
#: Bytes from which on an array's data stay in the file.
MAPPED_FROM = 65_536

_ALLOWED = """
    PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4
    FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE
    BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 EMPTY_LIST LIST APPEND APPENDS
    EMPTY_DICT DICT SETITEM SETITEMS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 POP POP_MARK PUT
    BINPUT LONG_BINPUT GET BINGET LONG_BINGET MEMOIZE GLOBAL STACK_GLOBAL REDUCE BUILD
"""
_CONTAINERS = "MARK EMPTY_LIST LIST EMPTY_DICT DICT EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 REDUCE"
_BY_CODE = {ord(opcode.code): opcode for opcode in pickletools.opcodes}
#: Sizes of the length fields of instructions that carry their data.
_LENGTH_FIELDS = {
    pickletools.TAKEN_FROM_ARGUMENT1: "<B",
    pickletools.TAKEN_FROM_ARGUMENT4: "<i",
    pickletools.TAKEN_FROM_ARGUMENT4U: "<I",
    pickletools.TAKEN_FROM_ARGUMENT8U: "<Q",
}
_DATA = ("BINBYTES", "BINBYTES8", "BYTEARRAY8")
_ARRAY_TYPE = re.compile(r"[<>=|]?([fiub]\d{1,2}|[US]\d{1,7}|\?)")


class RefusedError(Exception):
    """The file is not a pickle of arrays; the message says what was found."""


def load(path: Path, *, nested: bool = False) -> Any:
    """What the file holds: dicts, lists, strings, numbers and arrays, nothing else.

    In a ``nested`` one, of another program, :data:`DEEPEST` containers may be inside each other.

    Raises:
        RefusedError: anything else, in one line.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        kept, stored = _scan(file, path)
        try:
            content = _Unpickler(_without_data(file, kept, stored), stored).load()
        except RefusedError:
            raise
        except (MemoryError, RecursionError) as error:
            raise RefusedError(f"needs more than this machine has ({error!r})") from None
        except Exception as error:  # a broken pickle can raise nearly anything
            reason = " ".join(str(error).split())[:100]
            raise RefusedError(f"broken: {type(error).__name__}: {reason}") from None
    return _plain(content, (), {} if nested else None)


def load_weights(path: Path) -> dict[str, Any]:
    """A checkpoint that ``torch.save`` wrote, on the CPU: tensors only, no code."""
    import torch

    weights: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return weights


def dump(content: Any, file: BinaryIO) -> None:
    """Write a feature file, in a protocol that the toolkit's Python versions read."""
    pickle.dump(content, file, protocol=4)


class _Bytes:
    """Bytes that stayed in the file: where they are."""

    __slots__ = ("length", "offset", "path")

    def __init__(self, path: Path, offset: int, length: int) -> None:
        self.path = path
        self.offset = offset
        self.length = length


def _scan(file: BinaryIO, path: Path) -> tuple[list[tuple[int, int]], list[_Bytes]]:
    """Walk over the instructions without executing them, skipping their data.

    Returns:
        The ranges of the file between large data, and those data.
    """
    size = path.stat().st_size
    allowed, making = frozenset(_ALLOWED.split()), frozenset(_CONTAINERS.split())
    place, count, containers = 0, 0, 0
    kept: list[tuple[int, int]] = []
    stored: list[_Bytes] = []
    kept_from = 0
    while True:
        code = file.read(1)
        if not code:
            raise RefusedError("ends before its last instruction; a cut or foreign file")
        opcode = _BY_CODE.get(code[0])
        if opcode is None or opcode.name not in allowed:
            name = opcode.name if opcode else f"byte {code[0]}"
            raise RefusedError(f"instruction {name} at byte {place} is not one that arrays need")
        count += 1
        containers += opcode.name in making
        if count > MOST_INSTRUCTIONS or containers > MOST_CONTAINERS:
            raise RefusedError("too many objects: expected arrays, not nested lists")
        length = _check_argument(file, opcode, size, count)
        start, place = place, file.tell()
        if place > size:
            raise RefusedError(f"claims data beyond its end at byte {size}")
        is_large = opcode.name in _DATA and length >= MAPPED_FROM
        if is_large or opcode.name == "FRAME":  # frames say how much to read at once
            kept.append((kept_from, start))
            kept_from = place
        if is_large:
            kept.append((-1, len(stored)))
            stored.append(_Bytes(path, place - length, length))
        if opcode.name == "STOP":
            break
    if place != size:
        raise RefusedError(f"{size - place} bytes after its end: a second pickle or a checkpoint")
    kept.append((kept_from, size))
    return kept, stored


def _without_data(file: BinaryIO, kept: list[tuple[int, int]], stored: list[_Bytes]) -> BinaryIO:
    """The same pickle, with a persistent id in place of each large piece of data.

    The scan has refused files that hold persistent ids of their own.
    """
    if not stored:
        file.seek(0)
        return file
    program = io.BytesIO()
    for start, end in kept:
        if start < 0:
            program.write(b"J" + struct.pack("<i", end) + b"Q")  # BININT, BINPERSID
        else:
            file.seek(start)
            program.write(file.read(end - start))
    program.seek(0)
    return program


def _check_argument(file: BinaryIO, opcode: Any, size: int, count: int) -> int:
    """Read an instruction's argument, or skip it where it is data; the length of the data."""
    if opcode.arg is None:
        return 0
    kind = opcode.arg.n
    if kind == pickletools.UP_TO_NEWLINE:
        lines = 2 if opcode.name == "GLOBAL" else 1
        for _ in range(lines):
            line = file.readline(LONGEST_LINE)
            if not line.endswith(b"\n"):
                raise RefusedError(f"{opcode.name} without an end of line")
        if opcode.name in ("PUT", "GET") and not line.strip().isdigit():
            raise RefusedError(f"{opcode.name} of a place that is no number")
        if opcode.name == "PUT" and int(line) > count:
            raise RefusedError(f"memo place {int(line)} at instruction {count}")
        if opcode.name in ("LONG", "INT") and len(line) > 2 * LONGEST_INTEGER + 4:
            raise RefusedError("a number of too many digits")
        return 0
    if kind in _LENGTH_FIELDS:
        form = _LENGTH_FIELDS[kind]
        field = file.read(struct.calcsize(form))
        if len(field) < struct.calcsize(form):
            raise RefusedError("ends within an instruction; a cut file")
        length = struct.unpack(form, field)[0]
        if opcode.name.startswith("LONG") and length > LONGEST_INTEGER:
            raise RefusedError(f"an integer of {length} bytes")
        if length < 0 or length > size - file.tell():
            raise RefusedError(
                f"{opcode.name} claims {length} bytes, {size - file.tell()} are left"
            )
        file.seek(length, 1)
        return int(length)
    data = file.read(kind)
    if opcode.name in ("BINPUT", "LONG_BINPUT") and int.from_bytes(data, "little") > count:
        raise RefusedError(f"memo place {int.from_bytes(data, 'little')} at instruction {count}")
    if opcode.name == "FRAME" and int.from_bytes(data, "little") > size - file.tell():
        raise RefusedError("claims a frame beyond its end")
    return 0


class _Inert:
    """Base of what may be looked up: no attribute can be set on it by a BUILD."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise RefusedError("sets the state of something that is no array")


class _Type(_Inert):
    """``numpy.dtype``, by the text of a simple type; its state may only give the byte order."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 5 or state[1] not in ("<", ">", "|", "="):
            raise RefusedError("an array type with an odd state")
        if any(part is not None for part in state[2:5]):
            raise RefusedError("an array type with fields")
        if self.text[0] in "<>=|":
            self.text = self.text[1:]
        self.text = state[1] + self.text

    def numpy(self) -> np.dtype:
        if not _ARRAY_TYPE.fullmatch(self.text):
            raise RefusedError(f"an array of type {self.text[:20]!r}; expected numbers or strings")
        return np.dtype(self.text)


class _Array(_Inert):
    """``numpy.ndarray``: filled by its state, checked against its size, never by numpy."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise RefusedError("an array with an odd state")
        shape, kind, fortran, data = state[-4:]
        self.value = _array(data, kind, shape, "F" if fortran else "C")


def _array(data: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
    if not isinstance(kind, _Type):
        raise RefusedError("an array without a type")
    if not isinstance(data, (bytes, bytearray, _Bytes)):
        raise RefusedError("an array of objects; expected numbers or strings")
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise RefusedError(f"an array of shape {str(shape)[:40]}")
    if order not in ("C", "F") or len(shape) > 8:
        raise RefusedError("an array of odd order or rank")
    dtype = kind.numpy()
    expected = dtype.itemsize
    for axis in shape:
        expected *= axis
    length = data.length if isinstance(data, _Bytes) else len(data)
    if expected != length:
        raise RefusedError(f"an array of {length} bytes that claims shape {shape} of {dtype}")
    if isinstance(data, _Bytes):
        return np.memmap(data.path, dtype, "r", data.offset, shape, order)
    if dtype.itemsize == 0:
        return np.zeros(shape, dtype)
    return np.frombuffer(data, dtype).reshape(shape, order=order)


class _Function(_Inert):
    """A name that may be called, and what we do instead."""

    __slots__ = ("does",)

    def __init__(self, does: Callable[..., Any]) -> None:
        self.does = does

    def __call__(self, *args: Any) -> Any:
        return self.does(*args)


def _reconstruct(subtype: Any, shape: Any, kind: Any) -> _Array:
    if not isinstance(subtype, _Name) or shape != (0,):
        raise RefusedError("an array made in an odd way")
    return _Array()


def _dtype(text: Any, *options: Any) -> _Type:
    if not isinstance(text, str):
        raise RefusedError("an array type without a name")
    return _Type(text)


def _scalar(kind: Any, data: Any) -> Any:
    if not isinstance(data, (bytes, bytearray)):
        raise RefusedError("a number made in an odd way")
    return _array(data, kind, (1,), "C")[0]


def _from_buffer(data: Any, kind: Any, shape: Any, order: Any) -> _Array:
    array = _Array()
    array.value = _array(data, kind, shape, order)
    return array


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise RefusedError("bytes made in an odd way")
    return text.encode("latin1")


def _bytes(*nothing: Any) -> bytes:
    if nothing:
        raise RefusedError("bytes made in an odd way")
    return b""


class _Name(_Inert):
    """A name that may be mentioned, and does nothing."""

    __slots__ = ()


_NAMES: dict[tuple[str, str], Callable[[], _Inert]] = {
    ("numpy", "ndarray"): _Name,
    ("numpy", "dtype"): lambda: _Function(_dtype),
    ("_codecs", "encode"): lambda: _Function(_encode),
    ("builtins", "bytes"): lambda: _Function(_bytes),
    ("__builtin__", "bytes"): lambda: _Function(_bytes),
}
for _core in ("core", "_core"):
    for _module, _name, _does in (
        ("multiarray", "_reconstruct", _reconstruct),
        ("multiarray", "scalar", _scalar),
        ("numeric", "_frombuffer", _from_buffer),
    ):
        _NAMES[(f"numpy.{_core}.{_module}", _name)] = lambda does=_does: _Function(does)  # type: ignore[misc]


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO, stored: list[_Bytes]) -> None:
        super().__init__(file)
        self._stored = stored

    def persistent_load(self, number: int) -> _Bytes:
        return self._stored[number]

    def find_class(self, module: str, name: str) -> Any:
        make = _NAMES.get((module, name))
        if make is None:
            raise RefusedError(f"names {module}.{name}"[:100] + "; expected arrays only")
        return make()


def _plain(value: Any, where: tuple[str, ...], made: dict[int, Any] | None) -> Any:
    """The value with arrays in place, nested containers ``made`` once each (None: there may be
    none); refuses what else is there."""
    name = "/".join(where) or "file"
    if isinstance(value, _Array):
        if value.value is None:
            raise RefusedError(f"{name}: an array without contents")
        return value.value
    if made is not None and (type(value) is bytes or id(value) in made):
        return made.get(id(value), value)
    if made is not None and type(value) in (list, tuple) and len(where) < DEEPEST:
        parts = type(value)(_plain(item, (*where, "…"), made) for item in value)
        return made.setdefault(id(value), parts)
    if type(value) is dict and len(where) < (2 if made is None else DEEPEST):
        if not all(type(key) is str for key in value):
            raise RefusedError(f"{name}: a key that is no string")
        plain = {key: _plain(item, (*where, key), made) for key, item in value.items()}
        return plain if made is None else made.setdefault(id(value), plain)
    if type(value) is list:
        for item in value:
            if not (type(item) in (str, int, float, bool) or isinstance(item, np.generic)):
                kind = type(item).__name__.lstrip("_")
                raise RefusedError(f"{name}: a list of {kind}; expected strings or numbers")
        return value
    if value is None or type(value) in (str, int, float, bool) or isinstance(value, np.generic):
        return value
    kind = type(value).__name__.lstrip("_")
    raise RefusedError(f"{name}: a {kind}; expected arrays")
