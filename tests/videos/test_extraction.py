"""The feature file of extracted clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmsa_suparc.data.groups import known_groups
from mmsa_suparc.names import SPLITS
from mmsa_suparc.videos import recipe
from mmsa_suparc.videos.clip_table import Row
from mmsa_suparc.videos.extraction import feature_file
from mmsa_suparc.videos.fet import ClipFeatures


def test_it_names_each_clip_s_speaker_where_one_is_known() -> None:
    groups = ["ann", "ben", "cem", "4.mp4"]  # nothing is known of the last: its name is its own
    rows = [
        Row(f"{place}.mp4", Path(f"{place}.mp4"), "words", 1.0, split, group)
        for place, (split, group) in enumerate(zip([*SPLITS, "test"], groups, strict=True), start=1)
    ]
    one = ClipFeatures(np.ones((4, 3)), np.ones((4, 2)), (), 0.0)
    content = feature_file(
        rows, [row.split for row in rows], {row.id: one for row in rows}, recipe.load("default"),
        score_range=(-3.0, 3.0),
    )  # fmt: skip
    assert [content[split]["group"] for split in SPLITS] == [["ann"], ["ben"], ["cem", ""]]
    assert known_groups(content, SPLITS).tolist() == ["ann", "ben", "cem", ""]
