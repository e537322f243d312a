"""Running the cells of a plan: a process each, several at a time, none twice."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from mmsa_suparc.bench.devices import Slots
from mmsa_suparc.bench.folder import CellFolder
from mmsa_suparc.training.stop import stopped


@dataclass(frozen=True)
class Job:
    """A cell with its folder."""

    name: str
    folder: CellFolder
    done: bool  # before this run
    failed: bool


@dataclass(frozen=True)
class Outcome:
    """How a cell ended."""

    job: Job
    status: int
    seconds: float

    @property
    def ok(self) -> bool:
        return self.status == 0


class Running:
    """The processes of the cells that run now, so that they can be asked to stop.

    Args:
        at_once: the most of them.
    """

    def __init__(self, at_once: int) -> None:
        self.at_once = at_once
        self._processes: set[subprocess.Popen] = set()
        self._lock = threading.Lock()
        self.stopped = False

    def run(self, job: Job, threads: int, device: str | None = None) -> Outcome:
        """One cell from start to end, in a process of its own that sees this GPU alone."""
        started = time.monotonic()
        with self._lock:  # a cell that starts now is either stopped below or never started
            if self.stopped:
                return Outcome(job, -signal.SIGTERM, 0.0)
            with job.folder.log.open("ab") as log:
                process = subprocess.Popen(
                    command(job.folder.path), stdout=log, stderr=subprocess.STDOUT,
                    env=environment(threads, device), start_new_session=True,
                )  # fmt: skip
            self._processes.add(process)
        try:
            status = process.wait()
        finally:
            with self._lock:
                self._processes.discard(process)
        outcome = Outcome(job, status, time.monotonic() - started)
        if not self.stopped:
            job.folder.keep_outcome(status, outcome.seconds, self.at_once)
        return outcome

    def stop(self) -> None:
        """Let the cells save what they have and end."""
        with self._lock:
            self.stopped = True
            for process in self._processes:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)


def command(folder: Path) -> list[str]:
    return [sys.executable, "-m", "mmsa_suparc", "cell", str(folder)]


def environment(threads: int, device: str | None = None) -> dict[str, str]:
    """A cell's: its share of the processor's cores, or fewer where the user says so; its GPU."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    share = str(min(threads, int(said)) if said.isdigit() and int(said) else threads)
    return {
        **os.environ, "OMP_NUM_THREADS": share, "MKL_NUM_THREADS": share,
        "MMSA_BENCH_PARENT": str(os.getpid()),
        **({} if device is None else {"CUDA_VISIBLE_DEVICES": device}),
    }  # fmt: skip


def known_seconds(jobs: Sequence[Job]) -> dict[str, float]:
    """By model, how long a finished cell of these took."""
    found: dict[str, list[float]] = {}
    for job in jobs:
        seconds = job.folder.seconds()
        if seconds is not None:
            model = job.folder.read_spec()["cell"]["model"]
            found.setdefault(model, []).append(seconds)
    return {model: sum(times) / len(times) for model, times in found.items()}


def execute(
    jobs: Sequence[Job],
    *,
    at_once: int = 1,
    devices: Sequence[str] = (),
    jobs_per_gpu: int = 1,
    retry_failed: bool = False,
    on_start: Callable[[Job], None] = lambda job: None,
    on_end: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Run the cells that are not done; one that fails does not stop the others.

    Args:
        jobs: all cells.
        at_once: processes at a time; the cores are divided between them.
        devices: GPUs, as ``CUDA_VISIBLE_DEVICES`` names them: each cell sees one of them, and
            waits until one is free.
        jobs_per_gpu: cells that may share one.
        retry_failed: run those again that failed before.
        on_start: told when a cell starts, in its thread.
        on_end: told when it has ended.

    Raises:
        KeyboardInterrupt: the user stopped it; the cells have saved their state.
        StoppedError: SIGTERM did, likewise.
    """
    wanted = [job for job in jobs if not job.done and (retry_failed or not job.failed)]
    slots = Slots(devices, jobs_per_gpu)
    at_once = min(at_once, len(slots) or at_once)
    threads = max(1, cores() // at_once)
    running = Running(at_once)

    def run(job: Job) -> Outcome:
        with slots.held() as device:
            on_start(job)
            return running.run(job, threads, device)

    outcomes = []
    with stopping(), ThreadPoolExecutor(max_workers=at_once) as pool:
        try:
            futures: list[Future[Outcome]] = [pool.submit(run, job) for job in wanted]
            for future in as_completed(futures):
                outcomes.append(future.result())
                on_end(outcomes[-1])
        except BaseException:
            running.stop()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return outcomes


@contextlib.contextmanager
def stopping() -> Iterator[None]:
    """SIGTERM within this block interrupts it, so that no cell is left behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    said = False

    def interrupt(number: int, frame: object) -> None:
        nonlocal said
        if said:  # clusters say it more than once
            return
        said = True
        raise stopped("stopped; the same command goes on", number)

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def cores() -> int:
    """Cores that this process may use; within a Slurm job those that it was given."""
    here = os.cpu_count() or 1
    with contextlib.suppress(AttributeError):
        here = len(os.sched_getaffinity(0))
    given = os.environ.get("SLURM_CPUS_ON_NODE", "")
    return min(here, int(given)) if given.isdigit() and int(given) else here
