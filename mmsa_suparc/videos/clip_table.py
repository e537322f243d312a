"""A data set of one's own, as a table of clips: which video, what is said, which score."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mmsa_suparc.data.tables import read_clip_table
from mmsa_suparc.errors import UserError, nearest
from mmsa_suparc.names import SPLITS

#: Columns of a table by the names that they may have; the first is ours.
COLUMNS = {
    "path": ("path", "video", "file"),
    "text": ("text", "transcript"),
    "score": ("score", "label"),
    "split": ("split", "mode"),
    "group": ("speaker", "video_id"),
    "id": ("id",),
}
SHARES = (0.7, 0.1, 0.2)


@dataclass(frozen=True)
class Row:
    """A clip to extract.

    Args:
        id: its name; the toolkit's ``video$_$clip`` for its own layout.
        path: the video.
        text: what is said; empty where nobody wrote it down.
        score: in score units.
        split: train, valid or test; empty where the table gives none.
        group: speaker or video: never in two splits.
    """

    id: str
    path: Path
    text: str
    score: float
    split: str
    group: str


@dataclass
class ClipTable:
    """The rows that can be used, and why the others cannot (by the row's name)."""

    rows: list[Row] = field(default_factory=list)
    faults: list[tuple[str, str]] = field(default_factory=list)


def read(source: Path, *, score_range: tuple[float, float] | None = None) -> ClipTable:
    """A folder in the toolkit's layout (``label.csv``, ``Raw/<video>/<clip>.mp4``), or a CSV of
    paths, texts, scores and splits; paths are relative to the table.

    Raises:
        UserError: no table, or a column that is needed is not there.
    """
    folder, table = (source, source / "label.csv") if source.is_dir() else (source.parent, source)
    if not table.is_file():
        raise UserError(
            f"{source}: expected a folder with label.csv and Raw/<video>/<clip>.mp4, or a CSV file"
        )
    content = read_clip_table(table)
    names = _names(table, content, in_folder=source.is_dir())
    found = ClipTable()
    seen: dict[str, int] = {}
    for number, values in enumerate(content.to_dict("records"), start=2):
        given = {key: str(values[column]).strip() for key, column in names.items()}
        clip = _clip_id(given, values)
        where = f"line {number}, {clip}"
        reasons = list(_faults(given, clip, seen, folder, score_range))
        seen.setdefault(clip, number)
        if reasons:
            found.faults += [(where, reason) for reason in reasons]
            continue
        found.rows.append(
            Row(
                id=clip, path=folder / given["path"], text=given.get("text", ""),
                score=float(given["score"]), split=given.get("split", "").lower(),
                group=given.get("group") or Path(given["path"]).parent.name or clip,
            )
        )  # fmt: skip
    return found


def _names(table: Path, content: pd.DataFrame, *, in_folder: bool) -> dict[str, Any]:
    """The table's own name of each of our columns."""
    if in_folder:
        for column in ("video_id", "clip_id"):
            if column not in content:
                raise UserError(f"{table}: no column '{column}'{nearest(column, content.columns)}")
        clips = "Raw/" + content["video_id"] + "/" + content["clip_id"] + ".mp4"
        content["path"] = clips
    names = {
        ours: next((name for name in theirs if name in content), None)
        for ours, theirs in COLUMNS.items()
    }
    for needed in ("path", "score"):
        if names[needed] is None:
            words = " or ".join(f"'{name}'" for name in COLUMNS[needed])
            raise UserError(f"{table}: no column {words}{nearest(needed, content.columns)}")
    return {ours: name for ours, name in names.items() if name is not None}


def _clip_id(given: dict[str, str], values: dict[Any, Any]) -> str:
    if "video_id" in values and "clip_id" in values:
        return f"{values['video_id']}$_${values['clip_id']}"
    return given.get("id") or given["path"]


def _faults(
    given: dict[str, str],
    clip: str,
    seen: dict[str, int],
    folder: Path,
    score_range: tuple[float, float] | None,
) -> Iterator[str]:
    """What is wrong with a row: the field, what was found, what was expected."""
    if clip in seen:
        yield f"id: the same as in line {seen[clip]}"
    split = given.get("split", "").lower()
    if split and split not in SPLITS:
        yield f"split: '{split}'; expected train, valid or test"
    try:
        score = float(given["score"])
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        yield f"score: '{given['score']}' is no number"
    elif score_range is not None and not score_range[0] <= score <= score_range[1]:
        yield f"score: {score:g}; expected {score_range[0]:g} to {score_range[1]:g}"
    yield from _path_faults(given["path"], folder)


def _path_faults(name: str, folder: Path) -> Iterator[str]:
    """A table that somebody else made may not lead out of its folder."""
    if not name or "\0" in name:
        yield "path: empty; expected a video"
        return
    root = folder.resolve()
    try:
        target = (root / name).resolve()
        inside = target.is_relative_to(root)
        there = target.is_file()
    except (OSError, RuntimeError) as error:
        yield f"path: {error}"
        return
    if not inside:
        yield f"path: leads out of {root}"
    elif not there:
        yield f"path: no file {name}"


def with_splits(
    rows: list[Row], *, seed: int, shares: tuple[float, float, float] = SHARES
) -> list[str]:
    """A split for each clip: the table's own, or by groups, so that none is in two splits.

    Groups are shuffled by the seed and given to the splits so that each comes closest to its
    share of the clips; every split gets at least one group.

    Raises:
        UserError: some rows name a split and others do not, or there are fewer than three groups.
    """
    named = [bool(row.split) for row in rows]
    if all(named):
        return [row.split for row in rows]
    if any(named):
        raise UserError(f"split: given for {sum(named)} of {len(rows)} clips; expected all or none")
    sizes: dict[str, int] = {}
    for row in rows:
        sizes[row.group] = sizes.get(row.group, 0) + 1
    if len(sizes) < len(SPLITS):
        raise UserError(
            f"clips of {len(sizes)} speaker(s) or video(s); expected three at least, one a split, "
            "or a column 'split'"
        )
    groups = sorted(sizes)
    np.random.default_rng(seed).shuffle(groups)
    filled = dict.fromkeys(SPLITS, 0)
    chosen: dict[str, str] = {}
    for place, group in enumerate(groups):
        lacking = {
            split: share - filled[split] / len(rows)
            for split, share in zip(SPLITS, shares, strict=True)
        }
        empty = [split for split in SPLITS if not filled[split]]
        among = empty if len(groups) - place <= len(empty) else list(SPLITS)
        split = max(among, key=lacking.__getitem__)
        chosen[group] = split
        filled[split] += sizes[group]
    return [chosen[row.group] for row in rows]
