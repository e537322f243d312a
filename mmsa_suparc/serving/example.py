"""What the page's example button gives: a clip that anybody may try, and its words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmsa_suparc.data import demo
from mmsa_suparc.runs.known import Known

WORDS = "well , the acting was really good but the ending was somewhat dull ."
#: Of so many clips of the embedded data set this one is shown: its words praise a film, and its
#: voice and face do not.
DEMO_CLIPS, DEMO_CLIP = 12, 3


@dataclass(frozen=True)
class Example:
    """A clip with its words.

    Args:
        words: what is said.
        video: a file of this machine, which is read and left as it is.
        features: or its features, as :meth:`SupArcPredictor.predict_features` takes them.
    """

    words: str
    video: Path | None = None
    features: Mapping[str, Any] | None = None


def of(served: Known, video: Path | None, words: str | None) -> Example:
    """The example of a model: as the user says, else a clip of the embedded data set for a model
    that was trained on that, else words alone."""
    if video is not None:
        return Example(words or "", video)
    widths = {"audio": demo.AUDIO_WIDTH, "vision": demo.VISION_WIDTH}
    if words or served.config.get("dataset_name") != "demo" or served.widths != widths:
        return Example(words or WORDS)
    clips = demo.feature_file({"example": DEMO_CLIPS})["example"]
    one = slice(DEMO_CLIP, DEMO_CLIP + 1)
    names = ("audio", "audio_lengths", "vision", "vision_lengths")
    return Example(
        str(clips["raw_text"][DEMO_CLIP]), features={name: clips[name][one] for name in names}
    )
