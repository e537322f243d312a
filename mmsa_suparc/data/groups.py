"""Which clips belong together: those of one video (or speaker) are alike, and are no independent
observations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmsa_suparc.errors import UserError

#: Between a video's name and a clip's place in it, in the toolkit's ids.
BETWEEN = "$_$"
#: The field of a feature file that names each clip's video or speaker.
FIELD = "group"


def groups_of_ids(ids: Sequence[str]) -> np.ndarray | None:
    """The video of each clip (N,), where the ids tell it (``video$_$clip``); None where any id does
    not."""
    videos = _videos(ids)
    return videos if videos.astype(bool).all() else None


def _videos(ids: Sequence[str]) -> np.ndarray:
    """(N,), empty for an id that tells none."""
    parts = (str(one).rpartition(BETWEEN) for one in ids)
    return np.array([video if between else "" for video, between, _ in parts], dtype=object)


def known_groups(content: Mapping[str, Mapping[str, Any]], splits: Sequence[str]) -> np.ndarray:
    """The group (N,) of each clip of these splits of a feature file, one behind the other: what
    its field ``group`` says, otherwise the video in its id; empty where neither tells.

    Raises:
        UserError: a split without the field that another one has, or of another length.
    """
    ids = [str(one) for split in splits for one in np.ravel(content[split]["id"])]
    having = [split for split in splits if FIELD in content[split]]
    for split in splits if having else ():
        found = np.size(content[split].get(FIELD, ()))
        if found != np.size(content[split]["id"]):
            raise UserError(
                f"{split}: {FIELD}: expected a group for each of {np.size(content[split]['id'])} "
                f"clips, as {having[0]} has it; found {found}"
            )
    if having:
        said = [str(one).strip() for split in splits for one in np.ravel(content[split][FIELD])]
        return np.array(said, dtype=object)
    return _videos(ids)


def groups_by_id(content: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The known group of each clip of a feature file by its id; empty for one that is not known."""
    splits = list(content)
    ids = (str(one) for split in splits for one in np.ravel(content[split]["id"]))
    return dict(zip(ids, known_groups(content, splits).tolist(), strict=True))


def whole_groups(known: np.ndarray, ids: Sequence[str]) -> np.ndarray:
    """The same (N,), each clip of which nothing is known a group of its own."""
    return np.array(
        [group or str(one) for group, one in zip(known, ids, strict=True)], dtype=object
    )
