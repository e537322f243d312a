"""The page of a run, served by the command as a user starts it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def served(run: Path, temporary: Path) -> Iterator[tuple[int, subprocess.Popen]]:
    """The page of a run, answering; what it keeps for a while is below ``temporary``."""
    chosen = free_port()
    command = ["app", "--run", str(run), "--port", str(chosen), "--max-megabytes", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mmsa_suparc", *command],
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    try:
        for _ in range(240):
            assert process.poll() is None
            try:
                socket.create_connection(("127.0.0.1", chosen), timeout=1).close()
                break
            except OSError:
                time.sleep(0.5)
        yield chosen, process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
