"""What a finished cell's training took: parameters, seconds, clips a second, memory."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

#: In the order of every table. Seconds an epoch are those of its training part.
COSTS = (
    "trainable_parameters", "epoch_seconds", "train_clips_per_second", "valid_clips_per_second",
    "peak_process_mib", "peak_gpu_mib",
)  # fmt: skip


def costs_of(
    parameters: int | None, history: pd.DataFrame, clips: Mapping[str, int]
) -> dict[str, float]:
    """By name, each of :data:`COSTS`; NaN where it was not recorded, as by an older version.

    An epoch counts once, with its time and memory in the process that finished it: so a training
    that was stopped and went on has the median of all its epochs, and the peak of all its
    processes; what a stop threw away is not counted.

    Args:
        parameters: how many were trained.
        history: a row an epoch.
        clips: by split, how many.
    """

    def column(name: str) -> pd.Series:
        return history[name].dropna() if name in history else pd.Series(dtype=float)

    seconds = {split: column(f"{split}_seconds").median() for split in ("train", "valid")}
    speeds = {
        split: clips[split] / found if found > 0 and split in clips else math.nan
        for split, found in seconds.items()
    }
    found = (
        math.nan if parameters is None else parameters, seconds["train"], speeds["train"],
        speeds["valid"], column("peak_process_mib").max(), column("peak_gpu_mib").max(),
    )  # fmt: skip
    return {name: float(value) for name, value in zip(COSTS, found, strict=True)}
