"""What a trained model says of a clip, and how a score is put into words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from mmsa_suparc.errors import UserError
from mmsa_suparc.metrics import SIMS_CUTS, Family, classes

#: How many classes a label may be one of.
Classes = Literal[2, 3, 5, 7]
#: Scores closer to the middle of the range than this share of its half are neutral.
NEUTRAL = 0.05
#: Said of every score without a modality by a model that has only learnt from complete clips.
EXTRAPOLATION = (
    "scores without a modality are extrapolations: trained with weight_masked=0 and mask_rate=0"
)
_SIDES = ("weakly {}", "{}", "strongly {}")


@dataclass(frozen=True)
class Prediction:
    """What SupArc says of a clip.

    Args:
        score: in the data set's range.
        label: ``negative``, ``neutral`` (within 5% of the half range of its middle) or
            ``positive``; or one of 2, 3, 5 or 7 classes, see :class:`Words`.
        without_text: the score with the text masked; None where the clip has no text, or
            nothing else.
        without_audio: likewise.
        without_vision: likewise.
        warnings: what was missing or cut, and whether the scores without a modality are guesses
            about something that the model was not trained on.
        precision: in which the text encoder computed: ``fp32``, ``bf16`` or ``fp16``.
    """

    score: float
    label: str
    without_text: float | None
    without_audio: float | None
    without_vision: float | None
    warnings: tuple[str, ...] = ()
    precision: str = "fp32"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "warnings": list(self.warnings)}


def scores_table(names: Sequence[str], predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """Rows for a table or a CSV: a clip, its score and label, and the three left-out scores."""
    return [
        {"clip": name, **prediction.as_dict(), "warnings": "; ".join(prediction.warnings)}
        for name, prediction in zip(names, predictions, strict=True)
    ]


@dataclass(frozen=True)
class Words:
    """Puts scores into words.

    Args:
        score_range: lowest and highest score.
        family: whose bins, see :func:`mmsa_suparc.metrics.classes`.
        count: 2, 3, 5 or 7 classes with the bins of the metrics; None for the three words of
            :attr:`Prediction.label`.

    Raises:
        UserError: these metrics have no such bins.
    """

    score_range: tuple[float, float]
    family: Family = "mosi"
    count: Classes | None = None

    def __post_init__(self) -> None:
        known = [None, *(SIMS_CUTS if self.family == "sims" else get_args(Classes))]
        if self.count not in known:
            raise UserError(
                f"{self.count} classes: expected one of {', '.join(map(str, known[1:]))} "
                f"with the metrics of {self.family}"
            )

    def of(self, score: float) -> str:
        """The score in a word."""
        if self.count is not None:
            place = int(classes(np.array([score]), self.count, self.family)[0])
            return class_names(self.count)[place]
        low, high = self.score_range
        middle, half = (low + high) / 2, (high - low) / 2
        if abs(score - middle) <= NEUTRAL * half:
            return "neutral"
        return "positive" if score > middle else "negative"


def class_names(count: int) -> list[str]:
    """From the most negative class to the most positive one."""
    sides = _SIDES[: count // 2] if count > 3 else ("{}",)
    middle = ["neutral"] if count % 2 else []
    negative = [side.format("negative") for side in reversed(sides)]
    return [*negative, *middle, *(side.format("positive") for side in sides)]


def metrics_of(values: Mapping[str, Any]) -> Family:
    """Whose metrics a run was measured with, by its configuration."""
    name = str(values.get("metrics") or values.get("dataset_name", ""))
    return "sims" if name.startswith("sims") else "mosi"
