"""Whether a run may go on in a folder: what lies there is of the same run. Goes without torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmsa_suparc.data.store import Record
from mmsa_suparc.errors import UserError
from mmsa_suparc.runs.records import Records
from mmsa_suparc.training.identity import (
    first_difference,
    of_saved_state,
    other_ground,
    refuse_other_state,
)

Identity = Mapping[str, Any]


def refuse_others(
    records: Records, seeds: Sequence[int], identity: Callable[[int], Identity]
) -> None:
    """Before the first epoch: every seed that lies there, finished or not, is of this run.

    Args:
        records: of the run folder.
        seeds: of the run.
        identity: what a result of a seed is to be of.

    Raises:
        UserError: names the seed and what differs.
    """
    recorded = {record["seed"]: record for record in records.records()}
    for seed in seeds:
        saved = of_saved_state(records.seed_path(seed))
        if seed in recorded:
            refuse_other_run(records.path, recorded[seed], identity(seed))
        elif saved is not None:
            refuse_other_state(records.seed_path(seed), saved, _plain(identity(seed)))


def refuse_other_run(run_dir: Path, record: Record, wanted: Identity) -> str:
    """A seed that is recorded is kept only where it is of the same request.

    Args:
        run_dir: the run folder.
        record: of the seed.
        wanted: what a result of it is to be of.

    Returns:
        What it stands on that is another now, in words.

    Raises:
        UserError: names what differs.
    """
    wanted, found = _plain(wanted), record["identity"]
    which = f"--run-dir {run_dir}: seed {record['seed']}"
    if "encoder" not in found:
        raise UserError(
            f"{which} was run by an older version, which did not say of what encoder and of what "
            "whole feature file; use another folder"
        )
    key = first_difference(found, wanted)
    if key is not None:
        raise UserError(
            f"{which} was run with {key} = {found.get(key)!r}, this run has {wanted.get(key)!r}; "
            "use the same configuration or another folder"
        )
    return other_ground(found, wanted)


def _plain(identity: Identity) -> dict[str, Any]:
    """As it lies in a file."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(identity), default=str))
    return plain
