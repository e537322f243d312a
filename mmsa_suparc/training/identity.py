"""Whether something on disk is of the same run: all that a result is of, and what it stands on.

An identity is a flat dictionary. Keys that begin with ``environment.`` name what the run stands on
(versions, the kind of device): another one may change a number in its last digits, so a difference
there is worth a warning. Any other difference makes it another run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmsa_suparc.errors import UserError
from mmsa_suparc.plain_files import read_mapping

STANDS_ON = "environment."
#: Bytes of a saved state's sidecar, at most.
LARGEST_SIDECAR = 16 << 20


def first_difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str | None:
    """The first key that makes them two runs."""
    return next((key for key in _differing(found, wanted) if not key.startswith(STANDS_ON)), None)


def other_ground(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """What it stands on that is another now, in words; empty where nothing is."""
    return ", ".join(
        f"{key.removeprefix(STANDS_ON)} {found.get(key, 'unknown')} (now {wanted.get(key)})"
        for key in _differing(found, wanted)
        if key.startswith(STANDS_ON)
    )


def _differing(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    return [key for key in {**wanted, **found} if found.get(key) != wanted.get(key)]


def refuse_other_state(folder: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """A training goes on only from a state of its own.

    Args:
        folder: where the state is.
        found: what it is of.
        wanted: what the training is of.

    Raises:
        UserError: names what differs.
    """
    key = first_difference(found, wanted)
    if key is not None:
        raise UserError(
            f"{folder}: its saved state has {key} = {found.get(key)!r}, this run "
            f"{wanted.get(key)!r}; use the same configuration or another --run-dir"
        )


def of_saved_state(folder: Path) -> dict[str, Any] | None:
    """What the newest state in a folder says that it is of, whether or not it is whole; None where
    there is none that says so."""
    for sidecar in sorted(folder.glob("state-*.json"), reverse=True):
        with contextlib.suppress(UserError, OSError):
            found = read_mapping(sidecar, largest=LARGEST_SIDECAR).get("identity")
            if isinstance(found, dict):
                return found
    return None
