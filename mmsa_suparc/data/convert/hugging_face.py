"""A data set that ``datasets.DatasetDict.save_to_disk`` wrote, a row a clip."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from mmsa_suparc.data.convert.clips import Clip, frames_of, name_among, number_of, split_of
from mmsa_suparc.errors import UserError, in_a_line, nearest

#: The file by which such a folder is known.
MARK = "dataset_dict.json"


def read(source: Path) -> list[Clip]:
    """The clips of all splits; columns as in a feature file, or by other usual names.

    Raises:
        UserError: the library is not installed, or a column is missing or no array.
    """
    try:
        library: Any = importlib.import_module("datasets")
    except ImportError:
        raise UserError(
            f"{source}: a data set of Hugging Face's library, which is not installed; "
            "pip install datasets"
        ) from None
    try:
        splits = library.load_from_disk(str(source))
    except Exception as error:  # the library raises what its own parts raise
        raise UserError(f"{source}: cannot be read ({in_a_line(error)})") from None
    return [clip for name in splits for clip in _clips(splits[name], str(name), source)]


def _clips(rows: Any, split: str, source: Path) -> list[Clip]:
    columns = list(rows.column_names)
    names = {
        ours: name_among(columns, ours)
        for ours in ("id", "text", "score", "audio", "vision", "T", "A", "V")
    }
    for ours in ("text", "score", "audio", "vision"):
        if names[ours] is None:
            raise UserError(f"{source}: {split}: no column '{ours}'{nearest(ours, columns)}")
    clips = []
    for place, row in enumerate(rows):
        given = {ours: row[name] for ours, name in names.items() if name is not None}
        where = f"{source}: {split}: row {place}"
        if isinstance(given["audio"], dict):
            raise UserError(f"{where}: audio is a sound; expected features (frames, values)")
        clips.append(
            Clip(
                id=str(given.get("id", f"{split}-{place}")),
                text=str(given["text"]),
                score=number_of(given["score"], where),
                split=split_of(split),
                audio=_or_none(given["audio"], f"{where}: audio"),
                vision=_or_none(given["vision"], f"{where}: vision"),
                unimodal={one: number_of(given[one], where) for one in "TAV" if one in given},
            )
        )
    return clips


def _or_none(value: Any, where: str) -> np.ndarray | None:
    return frames_of(value, where) if value else None
