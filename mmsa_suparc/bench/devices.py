"""GPUs of one machine for the cells that run at a time, and how many cells that may be."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

#: What a cell on the processor is given: a training of BERT's size has room in it.
CORES_A_CELL, GIBIBYTES_A_CELL = 2, 4
#: Seconds that a driver may take to list its GPUs.
PATIENCE = 30


def visible() -> tuple[str, ...]:
    """The GPUs that cells may be given, as ``CUDA_VISIBLE_DEVICES`` names them.

    Those that the variable names where it is set; all that the driver lists otherwise. Loads no
    library.
    """
    said = os.environ.get("CUDA_VISIBLE_DEVICES")
    if said is not None:
        names = [name.strip() for name in said.split(",")]
        ends = [place for place, name in enumerate(names) if name in ("", "-1")]
        return tuple(names[: ends[0]] if ends else names)  # CUDA, too, reads up to there
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--list-gpus"], capture_output=True, text=True, timeout=PATIENCE
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    count = sum(line.startswith("GPU ") for line in listed.stdout.splitlines())
    return tuple(str(number) for number in range(count))


class Slots:
    """GPUs to hold, each by a number of cells at a time.

    Args:
        devices: their names; none where cells run on the processor.
        each: cells that may hold the same one.
    """

    def __init__(self, devices: Sequence[str], each: int = 1) -> None:
        self._holders = dict.fromkeys(devices, 0)
        self._each = each
        self._changed = threading.Condition()

    def __len__(self) -> int:
        """Cells that can hold one at a time."""
        return len(self._holders) * self._each

    @contextlib.contextmanager
    def held(self) -> Iterator[str | None]:
        """Within this block: the GPU that the fewest hold, waited for; None where there is none."""
        if not self._holders:
            yield None
            return
        with self._changed:
            self._changed.wait_for(lambda: min(self._holders.values()) < self._each)
            device = min(self._holders, key=self._holders.__getitem__)
            self._holders[device] += 1
        try:
            yield device
        finally:
            with self._changed:
                self._holders[device] -= 1
                self._changed.notify()


def suggested_jobs(devices: Sequence[str], each: int, cores: int) -> tuple[int, str]:
    """Cells at a time on this machine, and why.

    Args:
        devices: its GPUs.
        each: cells that may hold the same one.
        cores: of its processor.
    """
    if devices:
        return len(devices) * each, f"{len(devices)} GPUs × {each}"
    memory = free_gibibytes()
    count = max(1, min(cores // CORES_A_CELL, int(memory // GIBIBYTES_A_CELL)))
    return count, f"{cores} cores, {memory:.0f} GiB of memory free, no GPU"


def free_gibibytes() -> float:
    """Memory that programs can have without swapping; all of it where only that is told."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) / 2**20
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
