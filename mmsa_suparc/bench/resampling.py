"""A metric of every seed's predictions when whole groups of clips are drawn with replacement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

Metric = Callable[[np.ndarray, np.ndarray], float]

#: Draws of a metric that is no :class:`SumMetric`, which is measured anew in every draw.
RESAMPLES_OF_ANY = 500
#: Draws × groups that are kept at once; with more groups than 1,600 there are fewer draws.
MOST_WEIGHTS = 8_000_000


@dataclass(frozen=True)
class SumMetric:
    """A metric that sums over clips are enough for: in a draw each group's sums count as often
    as the group was drawn.

    Args:
        terms: (predictions (..., N), labels (N,)) -> K arrays (..., N), what a clip adds.
        of_sums: (number of clips (...), K sums (...)) -> the metric (...).
    """

    terms: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, ...]]
    of_sums: Callable[..., np.ndarray]

    def __call__(self, predictions: np.ndarray, labels: np.ndarray) -> float:
        sums = (term.sum(axis=-1) for term in self.terms(predictions, labels))
        with np.errstate(invalid="ignore", divide="ignore"):
            return float(self.of_sums(np.float64(len(labels)), *sums))


def _correlation(
    count: np.ndarray, x: np.ndarray, y: np.ndarray, xx: np.ndarray, yy: np.ndarray, xy: np.ndarray
) -> np.ndarray:
    spread = (count * xx - x**2) * (count * yy - y**2)
    return (count * xy - x * y) / np.sqrt(np.where(spread > 0, spread, np.nan))


def _moments(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    y = np.broadcast_to(y, x.shape)
    return x, y, x * x, y * y, x * y


#: Mean absolute error, score units.
mae = SumMetric(lambda x, y: (np.abs(x - y),), lambda count, error: error / count)
#: The same of scores that are cut to [-1, 1] first, as the metrics of CH-SIMS do.
clipped_mae = SumMetric(
    lambda x, y: (np.abs(np.clip(x, -1, 1) - np.clip(y, -1, 1)),),
    lambda count, error: error / count,
)
#: Pearson's correlation; NaN where either does not vary.
correlation = SumMetric(_moments, _correlation)


def drawn_metrics(
    predictions: np.ndarray,
    labels: np.ndarray,
    metric: Metric,
    places: np.ndarray,
    *,
    resamples: int,
    seed: int,
) -> np.ndarray:
    """(B, S) the metric of each seed in each draw of groups; the same draws for the same number
    of groups, whatever the predictions.

    Args:
        predictions: (S, N).
        labels: (N,).
        metric: a :class:`SumMetric`, or any function, in at most :data:`RESAMPLES_OF_ANY` draws.
        places: (N,) the group of each clip, 0 … G − 1.
        resamples: draws, B.
        seed: of the draws.
    """
    groups = int(places.max()) + 1
    resamples = min(resamples, max(1, MOST_WEIGHTS // groups))
    if not isinstance(metric, SumMetric):
        drawn = times_drawn(groups, min(resamples, RESAMPLES_OF_ANY), seed).astype(int)
        clips = (np.repeat(np.arange(len(labels)), times[places]) for times in drawn)
        return np.array([[metric(one[c], labels[c]) for one in predictions] for c in clips])
    times = times_drawn(groups, resamples, seed)
    order = np.argsort(places, kind="stable")
    starts = np.searchsorted(places[order], np.arange(groups))
    sums = [
        times @ np.add.reduceat(term[:, order], starts, axis=1).T
        for term in metric.terms(predictions, labels)
    ]
    count = times @ np.bincount(places, minlength=groups).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return metric.of_sums(count[:, None], *sums)


@lru_cache(maxsize=1)
def times_drawn(groups: int, resamples: int, seed: int) -> np.ndarray:
    """(B, G) how often each group is in each draw of as many groups with replacement."""
    drawn = np.random.default_rng(seed).integers(groups, size=(resamples, groups))
    drawn += groups * np.arange(resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=resamples * groups)
    return counts.reshape(resamples, groups).astype(np.float64)
