"""Which clips belong together: those of one video (or speaker) are alike, and are no independent
observations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: Between a video's name and a clip's place in it, in the toolkit's ids.
BETWEEN = "$_$"


def groups_of_ids(ids: Sequence[str]) -> np.ndarray | None:
    """The video of each clip (N,), where the ids tell it (``video$_$clip``); None where any id does
    not."""
    parts = [str(one).rpartition(BETWEEN) for one in ids]
    if not all(video and between for video, between, _ in parts):
        return None
    return np.array([video for video, _, _ in parts], dtype=object)
