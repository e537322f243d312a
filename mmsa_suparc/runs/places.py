"""Where a run writes, tried before hours of work. Goes without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mmsa_suparc.data.files import try_writing
from mmsa_suparc.errors import DiskError


@dataclass(frozen=True)
class Places:
    """Folders.

    Args:
        run_dir: the run folder.
        results: that of the toolkit's table, shared with other runs.
        models: of copies of the weights, where they are asked for.
        logs: of the toolkit's log, likewise.
    """

    run_dir: Path
    results: Path
    models: Path | None = None
    logs: Path | None = None


def try_outputs(places: Places) -> None:
    """Try every place that a run will write to.

    Raises:
        DiskError: names the option with which to choose another place.
    """
    for flag, folder in (
        ("--model-save-dir", places.models),
        ("--log-dir", places.logs),
        ("--res-save-dir", places.results),
        ("--run-dir", places.run_dir),
    ):
        if folder is not None:
            try:
                try_writing(folder)
            except DiskError as error:
                raise DiskError(f"{error}; choose another place with {flag}") from None
