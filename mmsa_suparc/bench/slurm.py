"""Running the cells of a plan as jobs of a Slurm cluster, through submitit.

Cells are submitted as arrays. Before that, each cell's folder notes the submission's name, which is
the jobs' name in Slurm, and its place in the array: so whoever starts the benchmark again finds its
jobs in the queue, whatever became of the process that submitted them. How a cell ended is written
into its folder by the job itself; the queue is only asked which jobs are still to come or running.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from mmsa_suparc import extras
from mmsa_suparc.bench.execute import Job, Outcome, execute, stopping
from mmsa_suparc.bench.slurm_options import SlurmOptions
from mmsa_suparc.bench.slurm_queue import Place, cancel, look
from mmsa_suparc.errors import StoppedError, UserError, in_a_line
from mmsa_suparc.training.stop import stopped

#: Cells an array: one less than Slurm allows by default (MaxArraySize).
LARGEST_ARRAY = 1000
#: A job that ended so is submitted again, as often as that; "" is one that Slurm has forgotten.
NOT_ITS_FAULT, TRIES = {"BOOT_FAIL", "NODE_FAIL", "PREEMPTED", ""}, 3
#: Seconds until what a job wrote on its machine must be seen here.
GRACE = 15.0
#: Seconds that cancelled jobs are waited for; Slurm gives them 30 to save what they have.
PATIENCE = 90.0
#: Exit statuses of a cell that was asked to stop.
ASKED_TO_STOP = (-signal.SIGTERM, 128 + signal.SIGTERM)


@dataclass(frozen=True)
class Training:
    """What a job does: one cell, in a process of its own as everywhere."""

    job: Job

    def __call__(self) -> int:
        """The cell's exit status, which its folder keeps too.

        At SIGUSR2 (preempted, or the time is nearly over) the cell saves its state and the job goes
        back to the queue; at SIGTERM the cell saves its state, and Slurm knows what comes next.
        """
        back_to_the_queue: Any = signal.getsignal(signal.SIGUSR2)

        def preempted(number: int, frame: object) -> None:
            signal.signal(number, signal.SIG_IGN)
            raise stopped("preempted", number)

        signal.signal(signal.SIGUSR2, preempted)
        try:
            (outcome,) = execute([self.job], retry_failed=True)
        except StoppedError as error:
            if error.status == 128 + signal.SIGUSR2:
                self._return_with(back_to_the_queue)
            sys.exit(error.status)
        if outcome.status in ASKED_TO_STOP:  # the signal came to it first
            self.job.folder.forget_failure()
            sys.exit(128 + signal.SIGTERM)
        return outcome.status

    def _return_with(self, handler: Callable[[int, object], None]) -> None:
        """Submitit's own handler, which ends the process; why it could not is kept."""
        try:
            handler(signal.SIGUSR2, None)
        except Exception as error:
            _tell_in_log(self.job, in_a_line(error))
            self.job.folder.keep_outcome(-signal.SIGUSR2, 0.0)
            raise

    def checkpoint(self) -> Any:
        """What submitit runs when the job comes back: the same, since a cell goes on by itself."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def require(options: SlurmOptions) -> None:
    """What is needed to submit.

    Raises:
        UserError: it is not here.
    """
    extras.require("submitit", "--executor slurm")
    if options.cluster == "slurm" and shutil.which("srun") is None:
        raise UserError(
            "--executor slurm: no srun here; run it on a machine of the cluster, or try it with "
            "--slurm cluster=local"
        )


def _tell_in_log(job: Job, line: str) -> None:
    with job.folder.log.open("a", encoding="utf-8") as log:
        print(line, file=log)


def ended(job: Job) -> Outcome | None:
    """How a cell ended, by its folder."""
    failure = job.folder.failure()
    if failure is not None:
        return Outcome(job, failure["status"], 0.0)
    if job.folder.is_done(tuple(job.folder.read_spec()["probes"])):
        return Outcome(job, 0, job.folder.seconds() or 0.0)
    return None


@dataclass(frozen=True)
class Submitter:
    """Gives cells to the cluster, none twice.

    Args:
        folder: for submitit's files: jobs, their logs, scripts for sbatch.
        options: of every job.
        parallelism: jobs of an array at a time.
    """

    folder: Path
    options: SlurmOptions
    parallelism: int

    def submit_missing(self, jobs: Sequence[Job]) -> int:
        """Submit those that have not ended and that no job is there for; how many these were.

        Args:
            jobs: cells; one that had failed before is run again.

        Raises:
            UserError: the cluster refuses, or does not answer.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        # Ctrl-C waits for a moment, so that every job is noted. Jobs of this machine inherit that.
        with FileLock(self.folder / "submit.lock"), _no_interruption():
            places = {job: Place.of(job) for job in jobs}
            seen = look([place for place in places.values() if place is not None])
            missing = [
                job for job, place in places.items()
                if not (place in seen and seen[place].to_come)
                and (job.failed or ended(job) is None)
            ]  # fmt: skip
            for start in range(0, len(missing), LARGEST_ARRAY):
                self._submit(missing[start : start + LARGEST_ARRAY])
        return len(missing)

    def _submit(self, jobs: Sequence[Job]) -> None:
        cluster = self.options.cluster
        name = f"{self.options.name}-{uuid.uuid4().hex[:8]}"
        executor = self._executor(name)
        for number, job in enumerate(jobs):
            job.folder.forget_failure()
            job.folder.keep_job(Place(cluster, name, number, None)._asdict())
        tasks = [Training(_anywhere(job)) for job in jobs]
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # what sbatch says comes with the error
                submitted = executor.submit_array(tasks)
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            raise UserError(f"--executor slurm: {in_a_line(error)}") from None
        for number, (job, its) in enumerate(zip(jobs, submitted, strict=True)):
            job.folder.keep_job(Place(cluster, name, number, its.job_id)._asdict())

    def _executor(self, name: str) -> Any:
        import submitit

        options = self.options
        values: dict[str, Any] = {"name": name, "timeout_min": options.minutes}
        if options.cluster == "slurm":
            cores = options.submitit.get("cpus_per_task")
            values.update({f"slurm_{key}": value for key, value in options.submitit.items()})
            values.update(
                slurm_array_parallelism=self.parallelism,
                slurm_additional_parameters={"requeue": True, **options.sbatch},
                # Since Slurm 22.05 the job's step does not take this over by itself.
                slurm_srun_args=[] if cores is None else [f"--cpus-per-task={cores}"],
            )
        executor = submitit.AutoExecutor(
            self.folder, cluster=options.cluster, slurm_max_num_timeout=options.max_num_timeout
        )
        executor.update_parameters(**values)
        return executor


def _anywhere(job: Job) -> Job:
    """With a folder that is the same from every working directory."""
    return dataclasses.replace(
        job, folder=dataclasses.replace(job.folder, path=job.folder.path.absolute())
    )


@contextlib.contextmanager
def _no_interruption() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def execute_with_slurm(
    jobs: Sequence[Job],
    *,
    folder: Path,
    options: SlurmOptions,
    parallelism: int = 256,
    retry_failed: bool = False,
    cancel_on_stop: bool = False,
    on_start: Callable[[Job], None] = lambda job: None,
    on_end: Callable[[Outcome], None] = lambda outcome: None,
    say: Callable[[str], None] = lambda line: None,
) -> list[Outcome]:
    """The cells that are not done, as jobs of a Slurm cluster whose machines share the folders.

    Args:
        jobs: all cells.
        folder: for submitit's files.
        options: of every job.
        parallelism: jobs of an array at a time.
        retry_failed: run those again that failed before.
        cancel_on_stop: end the jobs when this process is asked to stop.
        on_start: told when a cell is seen to run.
        on_end: told when it has ended.
        say: told what else there is to know.

    Raises:
        StoppedError: SIGINT or SIGTERM; the jobs go on, unless they were to be cancelled.
        UserError: the cluster refuses, or does not answer.
    """
    wanted = [job for job in jobs if not job.done and (retry_failed or not job.failed)]
    if not wanted:
        return []
    submitter = Submitter(folder, options, parallelism)
    watch = Watch(wanted, submitter, on_start, on_end, say)
    try:
        with stopping():
            new = submitter.submit_missing(wanted)
            say(f"{new} submitted, {len(wanted) - new} were there already; logs: {folder}")
            return watch.to_the_end()
    except (KeyboardInterrupt, StoppedError) as error:
        status = error.status if isinstance(error, StoppedError) else 128 + signal.SIGINT
        if cancel_on_stop:
            watch.cancel()
            message = "stopped, and the jobs cancelled; the same command goes on"
        else:
            message = (
                f"stopped watching; {len(watch.left)} jobs go on, and the same command watches "
                "them again (--cancel-on-stop ends them)"
            )
        raise stopped(message, status - 128) from None


class Watch:
    """Cells whose jobs are in the queue, until they have ended."""

    def __init__(
        self,
        jobs: Sequence[Job],
        submitter: Submitter,
        on_start: Callable[[Job], None],
        on_end: Callable[[Outcome], None],
        say: Callable[[str], None],
    ) -> None:
        self.left = list(jobs)
        self._submitter = submitter
        self._on_start, self._on_end, self._say = on_start, on_end, say
        self._outcomes: list[Outcome] = []
        self._started: set[Job] = set()
        self._gone: dict[Job, float] = {}  # since when no job and no outcome is seen
        self._tries = dict.fromkeys(jobs, 1)

    def to_the_end(self) -> list[Outcome]:
        """How every cell ended, in the order in which they did."""
        changed, silent = time.monotonic(), False
        while self.left:
            count = len(self.left)
            try:
                self._step()
                silent = False
            except UserError as error:  # Slurm restarts now and then; the jobs go on meanwhile
                if not silent:
                    self._say(f"{error}; asking again until it answers")
                silent = True
            if len(self.left) < count:
                changed = time.monotonic()
            # Often at first, then gently: others use the cluster, too.
            time.sleep(min(15.0, 0.5 + 0.1 * (time.monotonic() - changed)) if self.left else 0)
        return self._outcomes

    def _step(self) -> None:
        """Look once."""
        places = {job: Place.of(job) for job in self.left}
        seen = look([place for place in places.values() if place is not None])
        lost = []
        for job, place in places.items():
            its = seen.get(place) if place is not None else None
            if its is not None and its.to_come:
                self._gone.pop(job, None)
                if its.state == "RUNNING" and job not in self._started:
                    self._started.add(job)
                    self._on_start(job)
            elif (outcome := ended(job)) is not None:
                self._keep(outcome)
            elif time.monotonic() - self._gone.setdefault(job, time.monotonic()) > GRACE:
                state = "" if its is None else its.state
                if state in NOT_ITS_FAULT and self._tries[job] < TRIES:
                    lost.append(job)
                else:
                    self._give_up(job, state)
        if lost:
            self._say(f"{len(lost)} jobs were lost on the cluster and are submitted again")
            for job in lost:
                self._tries[job] += 1
                del self._gone[job]
            self._submitter.submit_missing(lost)

    def _give_up(self, job: Job, state: str) -> None:
        """A job that ended without a word."""
        if state == "CANCELLED":  # as the user wished; the same command goes on
            self._keep(Outcome(job, -signal.SIGTERM, 0.0))
            return
        its = Place.of(job)
        number = "" if its is None else its.job
        _tell_in_log(
            job, f"job {number} ended as {state or 'unknown'}; see {self._submitter.folder}"
        )
        job.folder.keep_outcome(-signal.SIGKILL, 0.0)
        self._keep(Outcome(job, -signal.SIGKILL, 0.0))

    def _keep(self, outcome: Outcome) -> None:
        self.left.remove(outcome.job)
        self._outcomes.append(outcome)
        self._on_end(outcome)

    def cancel(self) -> None:
        """End the jobs, and wait until those that run have saved what they have."""
        places = [place for job in self.left if (place := Place.of(job)) is not None]
        deadline = time.monotonic() + PATIENCE
        first = True
        while time.monotonic() < deadline:
            seen = [(place, its) for place, its in look(places).items() if its.to_come]
            if not seen:
                return
            if first:
                cancel(seen)
            first = False
            time.sleep(0.5)
