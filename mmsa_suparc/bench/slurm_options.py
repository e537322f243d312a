"""What ``--slurm KEY=VALUE,…`` says: options of a job as ``sbatch`` knows them, and a few more."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmsa_suparc.errors import UserError, nearest, shown

CLUSTERS = ("slurm", "local")
#: Minutes that a job may run where nobody says: submitit's own 5 would stop most trainings.
MINUTES = 60
#: What submitit takes itself; every other key becomes a line ``#SBATCH --key=value``.
OF_SUBMITIT = ("cpus_per_task", "gpus_per_node", "mem_gb", "signal_delay_s", "setup", "teardown")
NUMBERS = ("cpus_per_task", "mem_gb", "signal_delay_s", "max_num_timeout")
LINES_OF_SHELL = ("setup", "teardown")
GPUS = ("gpus", "gpus_per_node", "gpus_per_task", "gpus_per_socket")
#: What a benchmark says itself, and how.
OURS = {
    "array": "the cells that are to do", "array_parallelism": "--array-parallelism",
    "output": "OUT/slurm", "error": "OUT/slurm", "open_mode": "append", "requeue": "always",
    "signal": "signal_delay_s", "nodes": "one a training", "ntasks": "one a training",
    "ntasks_per_node": "one a training", "tasks_per_node": "one a training", "chdir": "this folder",
    "wrap": "the cells that are to do", "timeout_min": "time",
}  # fmt: skip


@dataclass(frozen=True)
class SlurmOptions:
    """Where jobs go and what they ask for."""

    cluster: str = "slurm"  # "local": processes on this machine, as a trial
    minutes: int = MINUTES
    name: str = "mmsa-bench"
    max_num_timeout: int = 3  # times that a job goes on after its time is over
    submitit: Mapping[str, Any] = field(default_factory=dict)
    sbatch: Mapping[str, Any] = field(default_factory=dict)

    @property
    def device(self) -> str:
        """The kind of device that a job is given."""
        asked = {**self.submitit, **self.sbatch}
        some = any(asked.get(key, 0) != 0 for key in GPUS) or "gpu" in str(asked.get("gres", ""))
        return "cuda" if some else "cpu"


def read(texts: Sequence[str]) -> SlurmOptions:
    """The options of each text, comma by comma; commas within brackets are part of a value.

    Raises:
        UserError: a key that is no key, or that is ours or said twice; a value that is no value.
    """
    found: dict[str, str] = {}
    for text in texts:
        for item in re.split(r",(?![^\[]*\])", text):
            key, equals, value = item.partition("=")
            key = key.strip().lower().replace("-", "_")
            if not (equals and re.fullmatch(r"[a-z][a-z0-9_]*", key) and value.strip()):
                raise UserError(
                    f"--slurm: found {shown(item)}, expected KEY=VALUE, as in "
                    "partition=gpu,gpus_per_node=1,time=60 (a flag is KEY=true)"
                )
            key = {"job_name": "name"}.get(key, key)
            if key in found:
                raise UserError(f"--slurm: {key} is said twice; say it once")
            if key in OURS:
                raise UserError(f"--slurm: {key} is the benchmark's to say ({OURS[key]})")
            if not value.isprintable():
                raise UserError(f"--slurm: found {key}={shown(value)}, expected one line of text")
            found[key] = value.strip()
    return _checked(found)


def _checked(found: dict[str, str]) -> SlurmOptions:
    cluster = found.pop("cluster", "slurm")
    if cluster not in CLUSTERS:
        raise UserError(f"--slurm: unknown cluster {shown(cluster)}{nearest(cluster, CLUSTERS)}")
    minutes = _minutes(found.pop("time")) if "time" in found else MINUTES
    name = found.pop("name", "mmsa-bench")
    if not re.fullmatch(r"[\w.-]{1,100}", name):
        raise UserError(
            f"--slurm: found name={shown(name)}, expected letters, digits, '.', '_' and '-'"
        )
    values = {key: _value(key, text) for key, text in found.items()}
    return SlurmOptions(
        cluster=cluster,
        minutes=minutes,
        name=name,
        max_num_timeout=values.pop("max_num_timeout", 3),
        submitit={key: value for key, value in values.items() if key in OF_SUBMITIT},
        sbatch={key: value for key, value in values.items() if key not in OF_SUBMITIT},
    )


def _value(key: str, text: str) -> Any:
    if key in LINES_OF_SHELL:
        return [text]
    if key in NUMBERS and not re.fullmatch(r"\d{1,6}", text):
        raise UserError(f"--slurm: found {key}={shown(text)}, expected a whole number")
    if text.lower() == "true":
        return True
    return int(text) if re.fullmatch(r"\d{1,9}", text) else text


def _minutes(text: str) -> int:
    """Minutes of a time as Slurm writes it: ``60``, ``90:00``, ``1:30:00``, ``2-0``, ``1-12:00``.

    Seconds are rounded up.
    """
    match = re.fullmatch(r"(?:(\d{1,3})-)?(\d{1,6})(?::(\d{1,2}))?(?::(\d{1,2}))?", text)
    days, first, second, third = match.groups() if match else (None,) * 4
    from_hours = days is not None or third is not None
    parts = (first, second, third) if from_hours else (None, first, second)
    hours, minutes, seconds = (int(part or 0) for part in parts)
    total = 60 * (24 * int(days or 0) + hours) + minutes + math.ceil(seconds / 60)
    if total < 1:
        raise UserError(
            f"--slurm: found time={shown(text)}, expected minutes, [HH:]MM:SS or DAYS-HH[:MM[:SS]]"
        )
    return total
