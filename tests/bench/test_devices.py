"""GPUs handed to cells: pure pieces with invented names, and real processes that see them."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from mmsa_suparc.bench import devices, execute
from mmsa_suparc.bench.devices import Slots
from mmsa_suparc.bench.folder import CellFolder
from mmsa_suparc.data.demo import Demo
from tests.helpers.patience import patience


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("", ()),
        ("-1", ()),
        ("3", ("3",)),
        ("0, 2", ("0", "2")),
        ("0,-1,2", ("0",)),
        ("GPU-8f,MIG-1a", ("GPU-8f", "MIG-1a")),
    ],
)
def test_what_the_environment_says_is_respected(
    said: str, expected: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", said)
    assert devices.visible() == expected


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (
            "echo 'GPU 0: NVIDIA H100 (UUID: GPU-1)'\necho '  MIG 1g.10gb Device 0: (UUID: M)'\n"
            "echo 'GPU 1: NVIDIA H100 (UUID: GPU-2)'",
            ("0", "1"),
        ),
        ("echo 'NVIDIA-SMI has failed'; exit 9", ()),
        (None, ()),
    ],
)
def test_otherwise_the_driver_is_asked(
    script: str | None, expected: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if script is not None:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert devices.visible() == expected


def test_a_slot_is_held_by_as_many_as_may_and_by_the_freest_first() -> None:
    slots = Slots(("a", "b"), 2)
    assert len(slots) == 4
    with slots.held() as first, slots.held() as second, slots.held() as third:
        assert (first, second, third) == ("a", "b", "a")
        with slots.held() as fourth:
            assert fourth == "b"
    with slots.held() as first:
        with slots.held() as second:
            assert (first, second) == ("a", "b")
        with slots.held() as again:
            assert again == "b"


def test_a_slot_is_waited_for_and_given_back_by_who_fails() -> None:
    slots, order = Slots(("a",)), []

    def wait() -> None:
        with slots.held() as device:
            order.append(f"second has {device}")

    waiting = threading.Thread(target=wait)

    def fail() -> None:
        with slots.held():
            waiting.start()
            waiting.join(0.2)
            order.append("first fails")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    waiting.join(patience(2))
    assert order == ["first fails", "second has a"]


def test_without_gpus_there_is_nothing_to_hold() -> None:
    slots = Slots(())
    assert len(slots) == 0
    with slots.held() as first, slots.held() as second:
        assert (first, second) == (None, None)


#: What a cell does here: note its GPU, from when to when; those of an odd number fail.
CELL = """
import json, os, sys, time
started = time.monotonic()
time.sleep(0.2)
seen = {name: os.environ.get(name) for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")}
with open(os.path.join(sys.argv[1], "seen.json"), "w") as file:
    json.dump({**seen, "from": started, "to": time.monotonic()}, file)
sys.exit(int(os.path.basename(sys.argv[1])) % 2)
"""


@pytest.mark.parametrize(
    ("gpus", "each", "at_once", "most"),
    [(("0", "1"), 1, 4, 1), (("3", "GPU-8f"), 2, 4, 2), ((), 1, 3, 3)],
)
def test_each_cell_sees_one_gpu(
    gpus: tuple[str, ...], each: int, at_once: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        execute, "command", lambda folder: [sys.executable, "-S", "-c", CELL, str(folder)]
    )
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    jobs = []
    for number in range(8):
        folder = CellFolder(Path("cells", str(number)))
        folder.path.mkdir(parents=True)
        jobs.append(execute.Job(str(number), folder, False, False))
    outcomes = execute.execute(jobs, at_once=at_once, devices=gpus, jobs_per_gpu=each)
    assert sorted(outcome.status for outcome in outcomes) == [0] * 4 + [1] * 4
    seen = [json.loads((job.folder.path / "seen.json").read_text()) for job in jobs]
    assert {one["CUDA_VISIBLE_DEVICES"] for one in seen} == (set(gpus) or {None})
    for one in seen:  # whoever was there when it started, on its GPU
        beside = [
            other for other in seen
            if other["CUDA_VISIBLE_DEVICES"] == one["CUDA_VISIBLE_DEVICES"]
            and other["from"] <= one["from"] < other["to"]
        ]  # fmt: skip
        assert 1 <= len(beside) <= most


def test_auto_fills_the_gpus_or_what_cores_and_memory_allow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert devices.suggested_jobs(("0", "1"), 3, 4) == (6, "2 GPUs × 3")
    monkeypatch.setattr(devices, "free_gibibytes", lambda: 33.0)
    assert devices.suggested_jobs((), 1, 64)[0] == 8
    assert devices.suggested_jobs((), 1, 6) == (3, "6 cores, 33 GiB of memory free, no GPU")
    monkeypatch.setattr(devices, "free_gibibytes", lambda: 0.5)
    assert devices.suggested_jobs((), 1, 1)[0] == 1


def test_free_memory_is_what_the_machine_has_at_most() -> None:
    import psutil

    assert 0 < devices.free_gibibytes() <= psutil.virtual_memory().total / 2**30


def test_auto_says_what_it_chose(
    mmsa: Callable, demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute, "command", lambda folder: ["true"])
    file = {"title": "T", "data_sets": ["demo"], "seeds": [1], "variants": {"lf_dnn": {}}}
    Path("bench.yaml").write_text(yaml.safe_dump(file))
    _, out, _ = mmsa("bench", "bench.yaml", "--out", "out", "--jobs", "auto")
    assert [line for line in out.splitlines() if line.startswith("--jobs auto: ")] != []


@pytest.mark.parametrize(
    ("option", "value"), [("--jobs", "many"), ("--jobs-per-gpu", "0"), ("--jobs", "0")]
)
def test_a_wrong_number_is_named(option: str, value: str, mmsa: Callable) -> None:
    status, _, err = mmsa("bench", "quick", "--out", "out", option, value)
    assert (status, len(err.splitlines())) == (2, 1)
    assert f"argument {option}: found '{value}', expected a whole number" in err
