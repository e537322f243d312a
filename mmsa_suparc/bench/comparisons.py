"""Every variant against the reference, and how such a comparison is to be read, in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from mmsa_suparc.bench import statistics
from mmsa_suparc.bench.resampling import SumMetric, clipped_mae, mae
from mmsa_suparc.bench.results import Results
from mmsa_suparc.bench.statistics import Difference, paired_difference
from mmsa_suparc.metrics import sims_metrics

#: How every difference of a report is to be read: the variant's less the reference's.
BELOW_ZERO = "below 0: better than the reference"
#: How the comparison of averaged predictions is called.
ENSEMBLE = "ensemble of the seeds"
#: The subset that lacks nothing, by the letters of its modalities.
COMPLETE = "tav"
#: The levels at which nothing is taken away, of every protocol.
WHOLE = (COMPLETE, "0.0")


@dataclass(frozen=True)
class Comparison:
    """A variant's MAE less the reference's.

    Args:
        means: of the means over seeds, which is what the tables show.
        ensemble: of the predictions averaged over seeds, for groups alone.
        p_holm: of the means, after Holm over all variants of the table.
    """

    means: Difference
    ensemble: Difference
    p_holm: float

    @property
    def mark(self) -> str:
        """Its stars."""
        return statistics.mark(self.p_holm, self.means)

    def as_json(self) -> dict[str, Any]:
        """Plain values; what cannot be known is None."""
        return {**_plain(self.means), "p_holm": self.p_holm, "ensemble": _plain(self.ensemble)}


def compare(results: Results, dataset: str, split: str = "test") -> dict[str, Comparison]:
    """By variant, all but the reference where both have a finished seed; all seeds of each."""
    sides = {v: results.predictions(dataset, v, split) for v in results.plan.variants}
    labels, groups = results.labels(dataset, split), results.groups(dataset, split)
    return _against(results.plan.reference, sides, labels, error_of(results, dataset), groups)


def compare_incomplete(
    results: Results, dataset: str, protocol: str = "P1"
) -> dict[str, Comparison]:
    """The same of the test MAE averaged over the levels of a protocol at which something is taken
    away, where variants were probed for them: a clip counts once with each.

    Args:
        protocol: ``P1``, whose levels are the six incomplete subsets of modalities; ``P2``, ``P3``
            or ``noise``, whose levels are rates.
    """
    probe = "noise" if protocol == "noise" else "missing"
    kept = {
        variant: [
            {level: predictions for (one, level), predictions in
             results.probed(cell, probe).items() if one == protocol and level not in WHOLE}
            for cell in results.of(dataset, variant)
        ]
        for variant in results.plan.variants
    }  # fmt: skip
    levels = sorted(next((of_seed for of_seed in kept[results.plan.reference] if of_seed), {}))
    if not levels:
        return {}
    sides = {
        variant: np.array(
            [np.concatenate([one[level] for level in levels]) for one in of_seeds
             if one.keys() == set(levels)]
        )
        for variant, of_seeds in kept.items()
    }  # fmt: skip
    labels, groups = results.labels(dataset), results.groups(dataset)
    own = np.arange(len(labels)) if groups is None else groups
    found = _against(
        results.plan.reference, sides, np.tile(labels, len(levels)), error_of(results, dataset),
        np.tile(own, len(levels)),
    )  # fmt: skip

    def of_clips(one: Difference) -> Difference:
        return replace(one, clips=len(labels), grouped=groups is not None)

    return {
        variant: replace(one, means=of_clips(one.means), ensemble=of_clips(one.ensemble))
        for variant, one in found.items()
    }


def _against(
    reference: str,
    sides: Mapping[str, np.ndarray],
    labels: np.ndarray,
    metric: SumMetric,
    groups: np.ndarray | None,
) -> dict[str, Comparison]:
    """Each side's predictions (S, N) against those of one of them, where both have any."""
    theirs, found = sides[reference], {}
    for variant, ours in sides.items():
        if variant != reference and len(ours) and len(theirs):
            averaged = ours.mean(axis=0)[None], theirs.mean(axis=0)[None]
            found[variant] = (
                paired_difference(ours, theirs, labels, metric, groups=groups),
                paired_difference(*averaged, labels, metric, groups=groups),
            )
    adjusted = statistics.holm([means.p for means, _ in found.values()])
    return {
        variant: Comparison(*pair, p)
        for (variant, pair), p in zip(found.items(), adjusted, strict=True)
    }


def error_of(results: Results, dataset: str) -> SumMetric:
    """The MAE as the data set's metrics have it."""
    return clipped_mae if results.measure(dataset) is sims_metrics else mae


def unit_in_words(difference: Difference) -> str:
    """What was drawn, and what of it is to be taken with care."""
    if not difference.grouped:
        return (
            f"Unit: {difference.clips} clips, because nothing is known of their videos; where "
            "clips of one video are alike, intervals are too short."
        )
    words = f"Unit: {difference.groups} videos (or speakers), {difference.clips} clips."
    if difference.groups < statistics.GROUPS_FOR_A_MARK:
        return f"{words} Fewer than {statistics.GROUPS_FOR_A_MARK} videos carry no marks."
    if difference.groups < statistics.FEW_GROUPS:
        return f"{words} So few videos show large differences only."
    return words


def seeds_in_words(differences: Iterable[Difference]) -> str:
    """How many seeds a side, and what is not known where there is one."""
    counts = sorted({seeds for d in differences for seeds in (d.seeds, d.reference_seeds)})
    if not counts:
        return ""
    words = f"Seeds a side: {' to '.join(dict.fromkeys(str(n) for n in (counts[0], counts[-1])))}."
    if counts[0] == 1:
        words += " With one seed the variance between seeds is unknown, and in no interval."
    return words


METHOD = (
    "Intervals (95%) and p are those of the difference of means over seeds, for other videos and "
    "other seeds: two-level bootstrap, videos the same for both sides, then seeds a side, with "
    "Student's t."
)


def _plain(difference: Difference) -> dict[str, Any]:
    def known(value: Any) -> Any:
        return None if isinstance(value, float) and not math.isfinite(value) else value

    found = asdict(difference)
    components = {name: known(value) for name, value in found.pop("components").items()}
    return {**{name: known(value) for name, value in found.items()}, "components": components}
