"""The results store: whole records, whoever writes and whatever dies."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from multiprocessing import get_context
from pathlib import Path

import pytest

from mmsa_suparc.data import store
from mmsa_suparc.errors import InUseError, UserError
from tests.helpers.patience import patience


def append_many(path: str, worker: int) -> None:
    for row in range(50):
        store.append(Path(path), {"worker": worker, "row": row, "text": "ü" * 100})


def test_eight_processes_write_400_whole_records(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    context = get_context("fork")
    workers = [context.Process(target=append_many, args=(str(path), n)) for n in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=patience(120))
    records = store.read(path)
    assert len(records) == 400
    assert {(r["worker"], r["row"]) for r in records} == {
        (worker, row) for worker in range(8) for row in range(50)
    }


def own_in_turn(folder: Path, rounds: int) -> None:
    """Own a folder so many times; while it is owned, nobody else may count."""
    counter = folder / "counter"
    for _ in range(rounds):
        while True:
            try:
                with store.owned(folder, "a counter"):
                    number = int(counter.read_text())
                    time.sleep(0.001)
                    counter.write_text(str(number + 1))
                break
            except InUseError:
                time.sleep(0.0005)


def die_as_owner(folder: Path) -> None:
    with store.owned(folder, "the dying"):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_folder_never_has_two_owners(tmp_path: Path) -> None:
    """Six processes in turn; others die as owners meanwhile."""
    (tmp_path / "counter").write_text("0")
    context = get_context("fork")
    workers = [context.Process(target=own_in_turn, args=(tmp_path, 40)) for _ in range(6)]
    for worker in workers:
        worker.start()
    lock = tmp_path / ".lock"
    while not lock.exists():
        time.sleep(0.001)
    inode = lock.stat().st_ino
    for _ in range(5):
        dying = context.Process(target=die_as_owner, args=(tmp_path,))
        dying.start()
        dying.join(timeout=patience(10))
    for worker in workers:
        worker.join(timeout=patience(60))
    assert [worker.exitcode for worker in workers] == [0] * 6
    assert (tmp_path / "counter").read_text() == "240"
    assert lock.stat().st_ino == inode  # it stays: who waits for it waits for the same


def test_a_torn_last_line_is_tolerated_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    store.append(path, {"a": 1})
    with path.open("ab") as file:
        file.write(b'{"a": 2, "cut')
    assert store.read(path) == [{"a": 1}]
    store.append(path, {"a": 3})
    assert store.read(path) == [{"a": 1}, {"a": 3}]


@pytest.mark.parametrize("line", [b'{"a": 2, "cut', b"[1]", b"\xff\xfe"])
def test_a_torn_middle_line_is_reported(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_bytes(b'{"a": 1}\n' + line + b'\n{"a": 3}\n')
    with pytest.raises(UserError, match="line 2"):
        store.read(path)


@pytest.mark.parametrize("limit", [0, 1, 5, 17, 30, 63, 64, 65, 100, 127, 128, 200])
def test_a_full_disk_leaves_older_records_whole(limit: int, tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    store.append(path, {"row": 0, "text": "x" * 40})
    before = path.stat().st_size
    program = (
        "import resource, signal, sys\nfrom pathlib import Path\n"
        "from mmsa_suparc.data import store\nfrom mmsa_suparc.errors import DiskError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)\n"
        "try: store.append(Path(sys.argv[1]), {'row': 1, 'text': 'y' * 40})\n"
        "except DiskError: sys.exit(4)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path), str(limit)], timeout=patience(60), check=False,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    rows = [record["row"] for record in store.read(path)]
    if done.returncode == 0:
        assert rows == [0, 1]
    else:
        assert done.returncode == 4
        assert rows == [0]
        assert path.stat().st_size == before
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    assert signal.getsignal(signal.SIGXFSZ) is not None
