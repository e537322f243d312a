"""What does a training cost beside other programs, with the command's word for waiting threads?

  python benchmarks/contention.py

SupArc on the embedded data set, two threads, alone and beside as many busy processes as there are
cores; once with libgomp's own patience (``GOMP_SPINCOUNT=300000``), once with the command's
(``mmsa_suparc.cli.TORCH_VARIABLES``). Seconds are those of the training epochs, the first left out.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from mmsa_suparc.bench.execute import cores
from mmsa_suparc.cli import TORCH_VARIABLES

OWN = "GOMP_SPINCOUNT"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()

    waits = {"libgomp's": "300000", "the command's": TORCH_VARIABLES[OWN]}
    found: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.repeats):
            for beside, processes in (("alone", 0), ("beside others", cores())):
                for name, spins in waits.items():
                    with busy(processes):
                        seconds = epoch_seconds(Path(folder), spins)
                    found.setdefault((beside, name), []).append(seconds)
    for beside in ("alone", "beside others"):
        before, now = (statistics.median(found[beside, name]) for name in waits)
        print(f"{beside}: {before:.2f} s an epoch with libgomp's patience, {now:.2f} s with the "
              f"command's: {before / now:.2f}")  # fmt: skip


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """Within this block so many processes are busy."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def epoch_seconds(folder: Path, spins: str) -> float:
    """Of a training's later epochs, the median."""
    with tempfile.TemporaryDirectory(dir=folder) as run_dir:
        subprocess.run(
            [sys.executable, "-m", "mmsa_suparc", "-m", "suparc", "-d", "demo", "--epochs", "4",
             "--run-dir", run_dir, "--res-save-dir", str(folder), "-v", "0"],
            check=True, stdout=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "2", OWN: spins},
        )  # fmt: skip
        history = pd.read_csv(Path(run_dir) / "seed-1111" / "history.csv")
    return float(history["train_seconds"][1:].median())


if __name__ == "__main__":
    main()
