"""The results store: whole records, whoever writes and whatever dies."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path

import pytest

from mmsa_suparc.data import store
from mmsa_suparc.errors import UserError
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
