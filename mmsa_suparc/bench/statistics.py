"""Is a difference real? An interval for other videos and other seeds, and the p of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from mmsa_suparc.bench.resampling import Metric, drawn_metrics

#: A side with fewer seeds, or fewer groups than this, carries no mark of significance.
SEEDS_FOR_A_MARK, GROUPS_FOR_A_MARK = 3, 5
#: Intervals from fewer groups than this are named with a warning.
FEW_GROUPS = 15
RESAMPLES = 5_000
#: Differences below this share of a metric are none: sums of the same numbers differ by as much.
ROUNDING = 1e-12
LEVEL, POWER = 0.95, 0.8


@dataclass(frozen=True)
class Components:
    """What the variance of a difference is made of: V(S, G) = groups/G + seeds/S + both/(S·G).

    Args:
        groups: between groups, of differences that all seeds share.
        seeds: between seeds, both sides' added up; NaN with one seed a side.
        both: of seeds that differ from group to group, likewise.
    """

    groups: float
    seeds: float
    both: float


@dataclass(frozen=True)
class Difference:
    """The mean over seeds of a metric of one variant, less that of the reference.

    Args:
        value: the difference, in the metric's unit.
        low: lower end of its 95% interval; NaN where it cannot be known.
        high: upper end.
        p: two-sided, below 0.05 where 0 is outside of the interval; 1 where it cannot be known.
        detectable: the smallest difference that would have been found with 80% power.
        clips: how many.
        groups: how many.
        grouped: whether the clips' groups are known; else each clip counts as one.
        seeds: of the variant.
        reference_seeds: of the reference.
        components: of its variance.
    """

    value: float
    low: float
    high: float
    p: float
    detectable: float
    clips: int
    groups: int
    grouped: bool
    seeds: int
    reference_seeds: int
    components: Components

    @property
    def fewest_seeds(self) -> int:
        """Of the two sides."""
        return min(self.seeds, self.reference_seeds)


def paired_difference(
    ours: np.ndarray,
    reference: np.ndarray,
    labels: np.ndarray,
    metric: Metric,
    *,
    groups: Sequence | np.ndarray | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Difference:
    """Compare two variants on the same clips: the difference of the metric's means over seeds,
    and what it would be with other groups of clips and other seeds.

    Two levels of drawing with replacement, groups (the same for both sides), then seeds (a side
    for itself), give the variance::

        V = V_groups + max(0, Σ_sides (V_seeds − V_both))

    V_groups is that of the mean over seeds when groups are drawn, times G'/(G' − 1) with
    G' = N²/Σ n_g² groups of n_g clips, which is G where they are alike. V_seeds is the variance
    of the seeds' metrics on all clips, divided by S: drawing seeds would give (S − 1)/S of it.
    V_both, of what groups change in one seed and not in another, is in both and counts once.
    The interval is value ± t·√V, with Satterthwaite's degrees of freedom.

    With one seed a side the variance between seeds is not known: the interval is about other
    groups for these very models. One group tells nothing: NaN, p = 1.

    Args:
        ours: (S, N) predictions by seed and clip, score units.
        reference: (S', N).
        labels: (N,) scores.
        metric: (predictions (N,), labels (N,)) -> a number; NaN where it has none. A
            ``SumMetric`` is fast, any other is measured in at most 500 draws.
        groups: (N,) of each clip, as its video; each clip its own where nothing is known.
        resamples: draws of groups.
        seed: of the draws.

    Raises:
        ValueError: shapes that do not fit.

    Source: Owen, "The pigeonhole bootstrap" (2007), of which this counts V_both once instead of
    three times; Satterthwaite (1946). How often the interval is right: ``docs/benchmarks.md``.
    """
    ours, reference, labels = np.asarray(ours), np.asarray(reference), np.asarray(labels)
    _check(ours, reference, labels, groups)
    places = _places(groups, len(labels))
    count = int(places.max(initial=-1)) + 1
    sides, drawn = [], []
    for one in (ours, reference) if len(labels) else ():
        sides.append(np.array([metric(each, labels) for each in one], dtype=np.float64))
        drawn.append(drawn_metrics(one, labels, metric, places, resamples=resamples, seed=seed))
    value = float(sides[0].mean() - sides[1].mean()) if sides else math.nan
    error, df, components = math.nan, 1.0, Components(math.nan, math.nan, math.nan)
    if math.isfinite(value) and count > 1:
        error, df, components = _standard_error(sides, drawn, np.bincount(places))
        rounding = ROUNDING * max(float(np.abs(side).max()) for side in sides)
        value, error = (0.0 if abs(one) <= rounding else one for one in (value, error))
    reach = float(stats.t.ppf((1 + LEVEL) / 2, df)) * error
    return Difference(
        value=value,
        low=value - reach,
        high=value + reach,
        p=_two_sided(value, error, df),
        detectable=reach + float(stats.t.ppf(POWER, df)) * error,
        clips=len(labels),
        groups=count,
        grouped=groups is not None,
        seeds=len(ours),
        reference_seeds=len(reference),
        components=components,
    )


def _check(
    ours: np.ndarray,
    reference: np.ndarray,
    labels: np.ndarray,
    groups: Sequence | np.ndarray | None,
) -> None:
    fit = ours.ndim == reference.ndim == 2 and labels.ndim == 1
    fit = fit and len(labels) == ours.shape[1] == reference.shape[1]
    if not fit or not len(ours) or not len(reference):
        raise ValueError(
            f"predictions {ours.shape} and {reference.shape} for labels {labels.shape}; expected "
            "(seeds, clips), at least one seed"
        )
    if groups is not None and len(groups) != len(labels):
        raise ValueError(f"{len(groups)} groups for {len(labels)} clips; expected one a clip")


def _places(groups: Sequence | np.ndarray | None, clips: int) -> np.ndarray:
    """(N,) the number of each clip's group."""
    if groups is None:
        return np.arange(clips)
    places: np.ndarray = np.unique(np.asarray(groups).astype(str), return_inverse=True)[1]
    return places.reshape(-1)


def _standard_error(
    sides: Sequence[np.ndarray], drawn: Sequence[np.ndarray], sizes: np.ndarray
) -> tuple[float, float, Components]:
    """√V, its degrees of freedom, and its components; NaN with too few draws that have a metric.

    Args:
        sides: of each side, the metric by seed (S,).
        drawn: of each side, the metric by draw and seed (B, S).
        sizes: (G,) clips of each group.
    """
    there = np.all([np.isfinite(one).all(axis=1) for one in drawn], axis=0)
    if there.sum() < 2:
        return math.nan, 1.0, Components(math.nan, math.nan, math.nan)
    ours, reference = (one[there] for one in drawn)
    alike = float(sizes.sum() ** 2 / (sizes**2).sum())
    unbiased = alike / (alike - 1)
    of_groups = unbiased * float((ours.mean(axis=1) - reference.mean(axis=1)).var(ddof=1))
    several = [
        (values, draws - draws.mean(axis=1, keepdims=True))
        for values, draws in zip(sides, (ours, reference), strict=True)
        if len(values) > 1
    ]
    counts = np.array([len(values) for values, _ in several])
    between = np.array([values.var(ddof=1) for values, _ in several]) / counts
    in_both = np.array([apart.var(axis=0, ddof=1).sum() for _, apart in several])
    in_both *= unbiased / counts / (counts - 1)
    of_seeds = max(0.0, float(between.sum() - in_both.sum()))
    share = of_seeds / float(between.sum()) if of_seeds else 0.0
    spread = of_groups**2 / (alike - 1) + float(((share * between) ** 2 / (counts - 1)).sum())
    total = of_groups + of_seeds
    components = Components(
        groups=len(sizes) * max(0.0, of_groups - float(in_both.sum())),
        seeds=share * float((counts * between).sum()) if len(several) == 2 else math.nan,
        both=len(sizes) * float((counts * in_both).sum()),
    )
    return math.sqrt(total), max(1.0, total**2 / spread) if spread > 0 else 1.0, components


def _two_sided(value: float, error: float, df: float) -> float:
    """P(|T| ≥ |value| / error); 1 where it is not known, or there is no difference."""
    if not math.isfinite(value) or not math.isfinite(error) or value == 0:
        return 1.0
    return float(2 * stats.t.sf(abs(value) / error, df)) if error > 0 else 0.0


def holm(p_values: Sequence[float]) -> list[float]:
    """p values of one table, adjusted so that the chance of any false mark stays what it was.

    Source: Holm, "A simple sequentially rejective multiple test procedure" (1979).
    """
    order = np.argsort(p_values)
    adjusted = np.empty(len(p_values))
    largest = 0.0
    for place, index in enumerate(order):
        largest = max(largest, (len(p_values) - place) * p_values[index])
        adjusted[index] = min(1.0, largest)
    return [float(p) for p in adjusted]


def p_in_words(p: float) -> str:
    """``p = 0.012``, or that it is below what three decimals show."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def mark(p: float, difference: Difference) -> str:
    """Stars for a table; none where there are too few seeds or groups to speak of significance."""
    if difference.fewest_seeds < SEEDS_FOR_A_MARK or difference.groups < GROUPS_FOR_A_MARK:
        return ""
    return "***" if p < 0.001 else "**" if p < 0.01 else "*" if p < 0.05 else ""


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95% interval of a run's mean over seeds, for other seeds on the same clips.

    By Student's t; (NaN, NaN) for one value.
    """
    if len(values) < 2:
        return math.nan, math.nan
    center, error = float(np.mean(values)), float(stats.sem(values))
    if error == 0.0:
        return center, center
    low, high = stats.t.interval(LEVEL, len(values) - 1, loc=center, scale=error)
    return float(low), float(high)
