"""Jobs of a cluster: where cells stand among them, and what the queue shows of them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from typing import NamedTuple

from mmsa_suparc.bench.execute import Job
from mmsa_suparc.errors import UserError, in_a_line

#: Jobs that one call of scancel is told of.
MOST_AT_ONCE = 1000
#: Seconds that the cluster may take to answer.
PATIENCE = 120
#: Words of Slurm for a job that will not run any more.
OVER = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
    "PREEMPTED", "TIMEOUT",
}  # fmt: skip


class Place(NamedTuple):
    """Where a cell stands among the jobs of a cluster."""

    cluster: str
    submission: str  # the jobs' name
    number: int  # in the array
    job: str | None  # its number, where it is known already

    @classmethod
    def of(cls, job: Job) -> Place | None:
        """The last one that a cell was given."""
        content = job.folder.job()
        return None if content is None else cls(**content)


class Seen(NamedTuple):
    """A job as the queue shows it."""

    job: str
    state: str

    @property
    def to_come(self) -> bool:
        """Whether it waits or runs."""
        return self.state not in OVER


def look(places: Sequence[Place]) -> dict[Place, Seen]:
    """What the queue shows of these jobs; those that it does not know any more are left out.

    Raises:
        UserError: the queue does not answer.
    """
    found = {}
    if any(place.cluster == "slurm" for place in places):
        jobs = {}
        asked = [
            "squeue", "--noheader", "--array", "--states=all", f"--user={os.getuid()}",
            "--format=%K|%i|%T|%j",
        ]  # fmt: skip
        for line in _output(asked).splitlines():
            number, job, state, name = line.strip().split("|", 3)
            jobs[name, int(number) if number.isdigit() else 0] = Seen(job, state)
        for each in places:
            if (each.submission, each.number) in jobs:
                found[each] = jobs[each.submission, each.number]
    here = [each for each in places if each.cluster == "local" and each.job is not None]
    if here:  # submitit's controllers, whose arguments tell them from others of their number
        for line in _output(["ps", "-A", "-o", "pid=,args="]).splitlines():
            job, _, arguments = line.strip().partition(" ")
            if "submitit.local._local" in arguments:
                found.update({each: Seen(job, "RUNNING") for each in here if each.job == job})
    return found


def cancel(seen: Sequence[tuple[Place, Seen]]) -> None:
    """End these jobs; running ones save what they have."""
    in_slurm = [job.job for place, job in seen if place.cluster == "slurm"]
    for start in range(0, len(in_slurm), MOST_AT_ONCE):
        _output(["scancel", *in_slurm[start : start + MOST_AT_ONCE]])
    for place, job in seen:
        if place.cluster == "local":
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(job.job), signal.SIGTERM)


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except (OSError, subprocess.SubprocessError) as error:
        raise UserError(f"{command[0]}: {in_a_line(error)}") from None
    if done.returncode:
        raise UserError(f"{command[0]}: {' '.join(done.stderr.split())[:200]}")
    return done.stdout
