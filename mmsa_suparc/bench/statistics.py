"""Is a difference real? Intervals always; tests where there are seeds enough for one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

#: Seeds from which on an exact test over seeds can reach p < 0.05 (with five: 2/32 = 0.0625).
SEEDS_FOR_A_TEST = 6
#: Fewer seeds than this carry no mark of significance.
SEEDS_FOR_A_MARK = 3
RESAMPLES = 5_000

Metric = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Difference:
    """A metric of one variant less that of the reference, on the same clips.

    Args:
        value: the difference, in the metric's unit.
        low: lower end of its 95% interval.
        high: upper end.
        p: two-sided; of the bootstrap over clips.
        effect: mean over clips of the difference of absolute errors, in its standard deviations.
        p_seeds: two-sided, exact, over seeds; None with fewer than six common ones.
        clips: how many clips were compared.
        seeds: how many seeds both have.
    """

    value: float
    low: float
    high: float
    p: float
    effect: float
    p_seeds: float | None
    clips: int
    seeds: int


def paired_difference(
    ours: np.ndarray,
    reference: np.ndarray,
    labels: np.ndarray,
    metric: Metric,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Difference:
    """Compare the predictions of two variants on the same clips.

    Predictions are averaged over seeds, then clips are drawn with replacement, the same for
    both: the interval is of what other clips of this kind would show, not other seeds.

    Args:
        ours: (S, N) predictions by seed and clip, score units.
        reference: (S', N).
        labels: (N,) scores.
        metric: (predictions (N,), labels (N,)) -> a number; NaN where it has none.

    Raises:
        ValueError: shapes that do not fit.
    """
    if (
        ours.ndim != 2
        or reference.ndim != 2
        or not len(labels) == ours.shape[1] == len(reference[0])
    ):
        raise ValueError(
            f"predictions {ours.shape} and {reference.shape} for {len(labels)} labels; "
            "expected (seeds, clips)"
        )
    a, b = ours.mean(axis=0), reference.mean(axis=0)
    drawn = _resampled_differences(a, b, labels, metric, resamples=resamples, seed=seed)
    low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) else (np.nan, np.nan)
    common = min(len(ours), len(reference))
    by_seed = [metric(x, labels) - metric(y, labels) for x, y in zip(ours, reference, strict=False)]
    return Difference(
        value=float(metric(a, labels) - metric(b, labels)),
        low=float(low),
        high=float(high),
        p=_two_sided(drawn),
        effect=_effect(np.abs(a - labels) - np.abs(b - labels)),
        p_seeds=sign_flip_test(by_seed) if common >= SEEDS_FOR_A_TEST else None,
        clips=len(labels),
        seeds=common,
    )


def _resampled_differences(
    a: np.ndarray, b: np.ndarray, labels: np.ndarray, metric: Metric, *, resamples: int, seed: int
) -> np.ndarray:
    """The difference on clips drawn with replacement, the same for both, where it is finite."""
    chance = np.random.default_rng(seed)
    drawn = np.empty(resamples)
    for place in range(resamples):
        clips = chance.integers(0, len(labels), size=len(labels))
        drawn[place] = metric(a[clips], labels[clips]) - metric(b[clips], labels[clips])
    return drawn[np.isfinite(drawn)]


def _two_sided(drawn: np.ndarray) -> float:
    """Twice the share of resamples on the far side of zero, counting ties half, never 0."""
    below = (np.sum(drawn < 0) + 0.5 * np.sum(drawn == 0) + 0.5) / (len(drawn) + 1)
    return float(min(1.0, 2 * min(below, 1 - below)))


def _effect(errors: np.ndarray) -> float:
    """The mean in its standard deviations; 0 where they do not vary."""
    spread = errors.std(ddof=1) if len(errors) > 1 else 0.0
    return float(errors.mean() / spread) if spread > 0 else 0.0


def sign_flip_test(differences: Sequence[float]) -> float:
    """Two-sided p of paired differences, by all 2ⁿ ways of flipping their signs."""
    values = np.asarray(differences, dtype=np.float64)
    if not values.any():
        return 1.0
    result = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    return float(result.pvalue)


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


def mark(p: float, seeds: int) -> str:
    """Stars for a table; none where there are too few seeds to speak of significance."""
    if seeds < SEEDS_FOR_A_MARK:
        return ""
    return "***" if p < 0.001 else "**" if p < 0.01 else "*" if p < 0.05 else ""


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95% interval of a mean over seeds, by Student's t; (NaN, NaN) for one value."""
    if len(values) < 2:
        return float("nan"), float("nan")
    center, error = float(np.mean(values)), float(stats.sem(values))
    if error == 0.0:
        return center, center
    low, high = stats.t.interval(0.95, len(values) - 1, loc=center, scale=error)
    return float(low), float(high)
