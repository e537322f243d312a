"""Whether something on disk is of the same run: all that a result is of, and what it stands on.

An identity is a flat dictionary. Keys that begin with ``environment.`` name what the run stands on
(versions, the kind of device): another one may change a number in its last digits, so a difference
there is worth a warning. Any other difference makes it another run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STANDS_ON = "environment."


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
