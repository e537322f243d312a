"""A table of clips beside their features as ``.npy`` or ``.npz``.

The table, ``label.csv``: ``id`` (or ``video_id``, ``clip_id``), ``text``, ``label`` (or ``score``),
``mode`` (or ``split``) if known, ``label_T``, ``label_A``, ``label_V`` if there are any. Beside it,
for audio and for vision, either

- a folder of that name with ``ID.npy`` or ``VIDEO/CLIP.npy`` (frames, values), a file a clip; or
- ``audio.npy`` (clips, frames, values) in the order of the table, with ``audio_lengths.npy`` if
  known; or both in one ``features.npz`` by these names.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmsa_suparc.data.convert.clips import Clip, frames_of, name_among, number_of, split_of
from mmsa_suparc.data.groups import BETWEEN
from mmsa_suparc.data.tables import read_clip_table
from mmsa_suparc.errors import UserError, nearest

TABLE, TOGETHER = "label.csv", "features.npz"
ENDINGS = (".npy", ".npz")


def read(source: Path) -> list[Clip]:
    """The clips of a folder, or of the folder that a table lies in.

    Raises:
        UserError: what is missing, and where.
    """
    table = source / TABLE if source.is_dir() else source
    rows = read_clip_table(table)
    names = {ours: name_among(list(rows.columns), ours) for ours in ("id", "text", "score", "split",
                                                                     "T", "A", "V")}  # fmt: skip
    if {"video_id", "clip_id"} <= set(rows.columns):
        rows["id"] = rows["video_id"] + BETWEEN + rows["clip_id"]
        names["id"] = "id"
    for ours, usual in (("id", "id"), ("text", "text"), ("score", "label")):
        if names[ours] is None:
            raise UserError(f"{table}: no column '{usual}'{nearest(usual, rows.columns)}")
    arrays = {name: _Modality(table.parent, name, len(rows)) for name in ("audio", "vision")}
    clips = []
    for place, row in enumerate(rows.to_dict("records")):
        given = {ours: str(row[column]) for ours, column in names.items() if column is not None}
        where = f"{table}, line {place + 2}"
        clips.append(
            Clip(
                id=given["id"],
                text=given["text"],
                score=number_of(given["score"], where),
                split=split_of(given.get("split", "")),
                audio=arrays["audio"].frames(place, given["id"]),
                vision=arrays["vision"].frames(place, given["id"]),
                unimodal={one: number_of(given[one], where) for one in "TAV" if one in given},
            )
        )
    return clips


class _Modality:
    """The features of one modality, in whichever of the three ways they lie there."""

    def __init__(self, folder: Path, name: str, count: int) -> None:
        self.name, self.folder = name, (folder / name).resolve()
        self.whole: Any = None
        self.lengths: Any = None
        if self.folder.is_dir():
            return
        arrays = _load(folder / TOGETHER) if (folder / TOGETHER).is_file() else {}
        for part in (name, f"{name}_lengths"):
            for path in (folder / f"{part}{ending}" for ending in ENDINGS):
                if path.is_file():
                    arrays = {**arrays, part: _only(path)}
        if name not in arrays:
            raise UserError(
                f"{folder}: no {name}; expected a folder {name}/ with a file a clip, {name}.npy, "
                f"or {TOGETHER} with '{name}' in it"
            )
        self.whole, self.lengths = arrays[name], arrays.get(f"{name}_lengths")
        for what, array, axes in ((name, self.whole, 3), (f"{name}_lengths", self.lengths, 1)):
            if array is not None and (array.ndim != axes or len(array) != count):
                raise UserError(
                    f"{folder}: {what} of shape {array.shape}; expected {axes} axes, the first "
                    f"with {count} clips as in the table"
                )

    def frames(self, place: int, clip: str) -> np.ndarray | None:
        """(T, D) of a clip, or None where it has none."""
        if self.whole is not None:
            length = self.whole.shape[1] if self.lengths is None else int(self.lengths[place])
            return (
                frames_of(self.whole[place, :length], f"{self.name} of {clip}") if length else None
            )
        video, between, part = clip.rpartition(BETWEEN)
        for name in (clip, f"{video}/{part}" if between else clip):
            for ending in ENDINGS:
                path = (self.folder / f"{name}{ending}").resolve()
                if not path.is_relative_to(self.folder):
                    raise UserError(f"clip {clip}: leads out of {self.folder}")
                if path.is_file():
                    return frames_of(_only(path), str(path))
        return None


def _load(path: Path) -> Mapping[str, Any]:
    try:
        with np.load(path) as kept:
            return {name: kept[name] for name in kept.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: no arrays ({str(error).splitlines()[0]})") from None


def _only(path: Path) -> Any:
    """The array of a ``.npy`` file, or the only one of an ``.npz``."""
    if path.suffix == ".npz":
        arrays = _load(path)
        if len(arrays) != 1:
            raise UserError(f"{path}: {len(arrays)} arrays; expected one")
        return next(iter(arrays.values()))
    try:
        return np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: no array ({str(error).splitlines()[0]})") from None
