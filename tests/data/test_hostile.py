"""Hostile feature files: each payload first fires under a naive load, then is refused."""

from __future__ import annotations

import importlib.util
import io
import os
import pickle
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mmsa_suparc.data import reader, safe_pickle
from mmsa_suparc.errors import UserError
from mmsa_suparc.names import SPLITS
from tests.helpers.patience import patience

MARK = "payload-ran"


class Payload:
    def __reduce__(self) -> tuple:
        return os.mkdir, (MARK,)


def naive(content: bytes) -> None:
    pickle.loads(content)


def naive_every(content: bytes) -> None:
    file = io.BytesIO(content)
    while file.tell() < len(content):
        pickle.load(file)


def naive_torch(content: bytes) -> None:
    torch.load(io.BytesIO(content), weights_only=False)


def naive_numpy(content: bytes) -> None:
    np.load(io.BytesIO(content), allow_pickle=True)["x"]


def torch_file(new_format: bool) -> bytes:
    file = io.BytesIO()
    torch.save({"x": Payload()}, file, _use_new_zipfile_serialization=new_format)
    return file.getvalue()


def npz_file() -> bytes:
    file = io.BytesIO()
    np.savez(file, x=np.array([Payload()], dtype=object))
    return file.getvalue()


def short(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


CALL = b"V" + MARK.encode() + b"\n"
GOOD = pickle.dumps({"train": {}, "valid": {}, "test": {}})
PAYLOADS: dict[str, tuple[bytes, Callable[[bytes], None]]] = {
    **{f"REDUCE {p}": (pickle.dumps(Payload(), p), naive) for p in range(6)},
    **{
        f"in a field {p}": (pickle.dumps({"train": {"audio": Payload()}}, p), naive)
        for p in range(6)
    },
    "INST": (b"(" + CALL + b"ios\nmkdir\n.", naive),
    "OBJ": (b"(cos\nmkdir\n" + CALL + b"o.", naive),
    # A class whose constructor proper makes a file: numpy.memmap(name, dtype, mode, offset, shape)
    "NEWOBJ": (
        b"\x80\x02cnumpy\nmemmap\n(" + CALL + b"Vf4\nVw+\nI0\nI1\nt\x81.",
        naive,
    ),
    "dotted": (b"\x80\x04" + short("shutil") + short("os.mkdir") + b"\x93(" + CALL + b"tR.", naive),
    "object array": (pickle.dumps(np.array([Payload()], dtype=object)), naive),
    "object array in a field": (
        pickle.dumps({"train": {"raw_text": np.array([Payload()], dtype=object)}}),
        naive,
    ),
    "second pickle": (GOOD + pickle.dumps(Payload()), naive_every),
    "torch, old": (torch_file(False), naive_torch),
    "torch, new": (torch_file(True), naive_torch),
    "npz": (npz_file(), naive_numpy),
}  # fmt: skip
if importlib.util.find_spec("numpy.lib._npyio_impl"):
    PAYLOADS["dotted, through numpy"] = (
        b"\x80\x04" + short("numpy.lib._npyio_impl") + short("os.mkdir") + b"\x93(" + CALL + b"tR.",
        naive,
    )


@pytest.mark.parametrize("name", PAYLOADS)
def test_payload_fires_when_loaded_naively_and_not_here(name: str, tmp_path: Path) -> None:
    content, load = PAYLOADS[name]
    path = tmp_path / "file.pkl"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        reader.read(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
    assert not Path(MARK).exists()
    try:
        load(content)
    except Exception:  # some payloads break the load after they ran
        assert Path(MARK).exists()
    assert Path(MARK).exists()


def test_setting_the_state_of_what_is_looked_up_is_refused(tmp_path: Path) -> None:
    dtype = b"cnumpy\ndtype\n"
    for content in (
        dtype + b"}b.",  # BUILD on the function
        dtype + b"N}V__defaults__\nNs\x86b.",
        dtype + b"(Vf4\ntR(I3\nV<\n(Va\ntNNI-1\nI-1\nI0\ntb.",  # fields in an array type
        dtype + b"(VO\ntR.",
        dtype + b"(VO8\ntR(I3\nV|\nNNNI-1\nI-1\nI63\ntb.",
    ):
        path = tmp_path / "file.pkl"
        path.write_bytes(content)
        with pytest.raises(UserError):
            reader.read(path)


def with_array(shape: tuple, data: bytes, text: str = "f4") -> bytes:
    """A handmade array that claims a shape."""
    core = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntVb\ntR"
    axes = b"".join(b"L%dL\n" % axis for axis in shape)
    kind = b"cnumpy\ndtype\n(V" + text.encode() + b"\ntR"
    return (
        core + b"(I1\n(" + axes + b"t" + kind + b"I00\nB" + struct.pack("<I", len(data)) + data
        + b"tb."
    )  # fmt: skip


BOMBS = {
    "nested lists": b"]" * 40_000_000 + b"a" * 40_000_000 + b".",
    "nested tuples": b")" + b"\x85" * 50_000_000 + b".",
    "marks": b"(" * 50_000_000 + b".",
    "nones": b"N" * 50_000_000 + b".",
    "memo place": b"\x80\x02]r\xff\xff\xff\x7f.",
    "memo place, text": b"]p2147483647\n.",
    "claimed bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**50) + b"x.",
    "claimed string": b"\x80\x04X" + struct.pack("<I", 2**32 - 1) + b"x.",
    "claimed frame": b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b"N.",
    "claimed array": with_array((2**25, 2**25), b"1234"),
    "claimed empty array": with_array((2**50, 2**13, 0), b""),
    "huge type": with_array((1,), b"1234", "U999999999"),
    "long integer": b"\x80\x02\x8b" + struct.pack("<i", 30_000_000) + b"\xff" * 30_000_000 + b".",
    "digits": b"L" + b"9" * 30_000_000 + b"L\n.",
    "long line": b"V" + b"x" * 60_000_000,
}


@pytest.mark.parametrize("name", BOMBS)
def test_memory_bombs_are_refused_quickly_and_cheaply(name: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb.pkl"
    path.write_bytes(BOMBS[name])
    program = (
        "import resource, sys, time\n"
        "from pathlib import Path\n"
        "from mmsa_suparc.data import safe_pickle\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "started = time.process_time()\n"
        "try: value = safe_pickle.load(Path(sys.argv[1]))\n"
        "except safe_pickle.RefusedError as error: print('REFUSED', error)\n"
        "else: print('LOADED', getattr(value, 'nbytes', value))\n"
        "peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before\n"
        "print(time.process_time() - started, peak)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False,
        timeout=patience(60),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    verdict, figures = done.stdout.strip().splitlines()
    if name == "claimed empty array":  # it does hold nothing
        assert verdict.startswith(("REFUSED", "LOADED 0"))
    else:
        assert verdict.startswith("REFUSED")
    seconds, kib = map(float, figures.split())
    assert seconds < 2
    assert kib < 100 * 1024


def small_file() -> dict:
    rng = np.random.default_rng(0)
    return {
        split: {
            "raw_text": np.array(["a b", "c — 好"]),
            "audio": rng.normal(size=(2, 3, 4)).astype(np.float32),
            "vision": np.asfortranarray(rng.normal(size=(2, 3, 4))),
            "text_bert": np.ones((2, 3, 5), dtype=">i4"),
            "id": ["x$_$0", "y$_$1"],
            "audio_lengths": [3, np.int64(2)],
            "regression_labels": [0.5, -1.0],
            "mask": np.array([True, False]),
            "note": None,
        }
        for split in SPLITS
    }


@pytest.mark.parametrize("mapped_from", [1, 65_536])
@pytest.mark.parametrize("protocol", range(6))
def test_ordinary_files_of_every_protocol_are_read_as_they_are(
    protocol: int, mapped_from: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safe_pickle, "MAPPED_FROM", mapped_from)
    path = tmp_path / "file.pkl"
    path.write_bytes(pickle.dumps(small_file(), protocol))
    read = reader.read(path)
    for split, fields in small_file().items():
        for name, value in fields.items():
            again = read[split][name]
            if isinstance(value, np.ndarray):
                assert again.dtype == value.dtype
                np.testing.assert_array_equal(again, value)
            else:
                assert again == value
                assert type(again) is type(value)


def broken_copies(count: int) -> list[bytes]:
    """Seeded flips, cuts and splices of a valid file."""
    chance = random.Random(7)
    valid = [pickle.dumps(small_file(), protocol) for protocol in range(6)]
    copies = []
    for _ in range(count):
        content = bytearray(chance.choice(valid))
        for _ in range(chance.randint(1, 4)):
            kind, place = chance.choice("fcs"), chance.randrange(max(1, len(content)))
            if kind == "f":
                content[place : place + 1] = bytes([chance.randrange(256)])
            elif kind == "c":
                content = content[:place]
            else:
                other = chance.choice(valid)
                start = chance.randrange(len(other))
                content[place:place] = other[start : start + chance.randint(1, 200)]
        copies.append(bytes(content))
    return copies


def check_broken_copies(count: int, tmp_path: Path) -> None:
    messages = []
    for number, content in enumerate(broken_copies(count)):
        path = tmp_path / f"{number}.pkl"  # what is mapped must not be written over
        path.write_bytes(content)
        try:
            safe_pickle.load(path)
        except safe_pickle.RefusedError as error:
            messages.append(str(error))
    assert len(messages) > count / 3
    assert not any("\n" in message for message in messages)


@pytest.mark.parametrize("mapped_from", [1, 65_536])
def test_broken_copies_are_read_or_refused(
    mapped_from: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safe_pickle, "MAPPED_FROM", mapped_from)
    check_broken_copies(150, tmp_path)


@pytest.mark.slow
def test_many_broken_copies_are_read_or_refused(tmp_path: Path) -> None:
    check_broken_copies(2000, tmp_path)
