"""The words of the project, once: modalities, metrics, loss terms, subsets."""

from __future__ import annotations

from itertools import combinations
from typing import Literal, NamedTuple

MODALITIES: tuple[str, str, str] = ("text", "audio", "vision")
SPLITS: tuple[str, str, str] = ("train", "valid", "test")

#: The terms of the training objective, in the order in which they are logged.
LOSS_TERMS: tuple[str, ...] = ("mae", "suparc", "triplet", "masked")


class Metric(NamedTuple):
    """How a metric of the toolkit is read."""

    better: Literal["lower", "higher"]


#: The toolkit's metrics by its own names (``MetricsTop``), raw values in [0, 1] or score units.
METRICS: dict[str, Metric] = {
    "Has0_acc_2": Metric("higher"),
    "Has0_F1_score": Metric("higher"),
    "Non0_acc_2": Metric("higher"),
    "Non0_F1_score": Metric("higher"),
    "Mult_acc_2": Metric("higher"),
    "Mult_acc_3": Metric("higher"),
    "Mult_acc_5": Metric("higher"),
    "Mult_acc_7": Metric("higher"),
    "F1_score": Metric("higher"),
    "MAE": Metric("lower"),
    "Corr": Metric("higher"),
    "Loss": Metric("lower"),
}

#: Score ranges of the data sets that we know; others say so in their configuration.
SCORE_RANGES: dict[str, tuple[float, float]] = {
    "mosi": (-3.0, 3.0),
    "mosei": (-3.0, 3.0),
    "sims": (-1.0, 1.0),
    "simsv2": (-1.0, 1.0),
    "demo": (-3.0, 3.0),
}

#: The largest numbers that make sense: beyond them memory or years would run out, not be used.
MOST_CLIPS, MOST_EPOCHS, MOST_LAYERS, MOST_UNITS = 65_536, 100_000, 16, 8_192
LARGEST_SEED = 2**31 - 1

#: The three subsets with one modality masked, as presence flags (text, audio, vision), and the
#: three with two masked. ``NESTED_PAIRS`` lists (i, j): ONE_MASKED[i] contains TWO_MASKED[j].
ONE_MASKED: tuple[tuple[bool, ...], ...] = tuple(
    tuple(m not in gone for m in MODALITIES) for gone in combinations(MODALITIES, 1)
)
TWO_MASKED: tuple[tuple[bool, ...], ...] = tuple(
    tuple(m not in gone for m in MODALITIES) for gone in combinations(MODALITIES, 2)
)
NESTED_PAIRS: tuple[tuple[int, int], ...] = tuple(
    (i, j)
    for i, larger in enumerate(ONE_MASKED)
    for j, smaller in enumerate(TWO_MASKED)
    if all(kept or not still for kept, still in zip(larger, smaller, strict=True))
)
