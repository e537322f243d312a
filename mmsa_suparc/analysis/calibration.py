"""Are predictions right on average, and how far are they drawn to the middle of the scale?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from mmsa_suparc.analysis.chosen import few, finished
from mmsa_suparc.analysis.intensity import bin_of
from mmsa_suparc.analysis.section import Section
from mmsa_suparc.analysis.style import LIGHT_GRAY, Looks, grid, looks, wrapped
from mmsa_suparc.bench.resampling import SumMetric, drawn_metrics
from mmsa_suparc.bench.results import Results
from mmsa_suparc.bench.statistics import GROUPS_FOR_A_MARK, LEVEL, RESAMPLES
from mmsa_suparc.bench.tables import Entry, Table, number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Of the errors of single clips, what the band below the curve holds: the middle 80%.
BAND = (0.1, 0.9)


@dataclass(frozen=True)
class Point:
    """The clips of a bin, each once a seed.

    Args:
        at: their mean on the horizontal axis, score units.
        mean: of what is measured, score units.
        low: lower end of its 95% interval for other groups; NaN where it cannot be known.
        high: upper end.
        band: between these lies the middle 80% of what is measured.
    """

    at: float
    mean: float
    low: float
    high: float
    band: tuple[float, float]


def section(results: Results, dataset: str) -> Section | None:
    """There where a variant is done."""
    of = finished(results, dataset)
    if not of:
        return None
    labels, groups = results.labels(dataset), results.groups(dataset)
    names, which = few(results, dataset, of)
    shown = {variant: results.predictions(dataset, variant) for variant in names}
    looked_at = {
        variant: (calibration(by_seed, labels, groups), errors(by_seed, labels, groups))
        for variant, by_seed in shown.items()
    }
    found = Section(
        f"Calibration on {dataset}",
        "Whether a prediction means what it says: the true score that clips with such a prediction "
        "have on average, and how the error depends on the true score. Models that minimise an "
        "error draw strong sentiment to the middle (regression to the mean).",
        [_table(results, dataset, of)],
    )
    found.draw(
        f"{dataset}-calibration",
        curves(looked_at, looks(results.plan.variants)),
        f"Calibration on {dataset}, a column a variant; clips of all seeds. Top: mean true score "
        "of the clips whose predictions round to one score, at the mean of these predictions; on "
        "the broken line they are right on average. Bottom: mean error (prediction − true score) "
        "by rounded true score; the band holds the middle 80% of single errors. A line that falls: "
        f"strong sentiment is predicted too weakly. {_intervals(groups)}{which}",
    )  # fmt: skip
    return found


def _intervals(groups: np.ndarray | None) -> str:
    unit = "clips (their videos are not known)" if groups is None else "videos (or speakers)"
    return (
        f"Bars: 95% intervals for other {unit} and these trainings; none where a bin has fewer "
        f"than {GROUPS_FOR_A_MARK} of them (hollow)."
    )


def _table(results: Results, dataset: str, of: Sequence[str]) -> Table:
    table = Table(
        f"{dataset}-calibration", f"Calibration of the predictions on {dataset}",
        ["variant", "slope", "spread", "bias"],
        notes=[
            "Slope: of the least-squares line of the true score on the prediction; 1 is "
            "calibrated, above 1 predictions lie too close together, below 1 too far apart. "
            "Spread: standard deviation of the predictions divided by that of the scores. Bias: "
            "mean of prediction − score (score units). Means over seeds."
        ],
    )  # fmt: skip
    labels = results.labels(dataset)
    for variant in of:
        measured = [line(one, labels) for one in results.predictions(dataset, variant)]
        slope, spread, bias = np.mean(measured, axis=0)
        table.rows.append(
            [Entry(variant), number(slope), number(spread), number(bias, signed=True)]
        )
    return table


def line(predictions: np.ndarray, labels: np.ndarray) -> tuple[float, float, float]:
    """cov(y, ŷ) / var(ŷ), sd(ŷ) / sd(y) and mean(ŷ − y) of one seed's predictions (N,); NaN where a
    divisor is 0."""
    spread, of_labels = float(np.std(predictions)), float(np.std(labels))
    covariance = float(np.mean((predictions - predictions.mean()) * (labels - labels.mean())))
    return (
        covariance / spread**2 if spread else float("nan"),
        spread / of_labels if of_labels else float("nan"),
        float(np.mean(predictions - labels)),
    )


def calibration(
    predictions: np.ndarray, labels: np.ndarray, groups: np.ndarray | None
) -> list[Point]:
    """Mean true score by rounded prediction; predictions beyond the scale are in its last bins.

    Args:
        predictions: (S, N), score units.
        labels: (N,) scores.
        groups: (N,) video or speaker of each clip; each its own where they are not known.
    """
    scale = bin_of(labels)
    step = 0.5 if np.abs(labels).max(initial=0) <= 1 else 1.0
    places = np.clip(np.round(predictions / step) * step, scale.min(), scale.max())
    truth = np.broadcast_to(labels, predictions.shape)
    return _points(predictions, truth, places, groups)


def errors(predictions: np.ndarray, labels: np.ndarray, groups: np.ndarray | None) -> list[Point]:
    """Mean of prediction − score by rounded score; arguments as those of :func:`calibration`."""
    truth = np.broadcast_to(labels, predictions.shape)
    return _points(truth, predictions - labels, bin_of(truth), groups)


def _points(
    at: np.ndarray, values: np.ndarray, bins: np.ndarray, groups: np.ndarray | None
) -> list[Point]:
    """The mean of values (S, N) in each bin, over clips and seeds.

    Its interval is for other groups: the mean is a ratio of two sums, measured in draws of whole
    groups; mean ± t·√(g / (g − 1))·SD of the draws, for the g groups with a clip in the bin and
    Student's t with g − 1 degrees of freedom.
    """
    seeds, clips = values.shape
    own = np.arange(clips) if groups is None else np.unique(groups, return_inverse=True)[1]
    places = np.tile(own, seeds)
    found = []
    for name in np.unique(bins):
        here = bins == name
        inside = values[here]
        count = len(np.unique(places[here.reshape(-1)]))
        mean = float(inside.mean())
        reach = float("nan")
        if count >= GROUPS_FOR_A_MARK:
            drawn = drawn_metrics(
                values.reshape(1, -1), here.reshape(-1), MEAN_INSIDE, places,
                resamples=RESAMPLES, seed=0,
            )  # fmt: skip
            error = np.sqrt(count / (count - 1)) * np.nanstd(drawn, ddof=1)
            reach = float(stats.t.ppf((1 + LEVEL) / 2, count - 1) * error)
        band = tuple(np.quantile(inside, BAND).tolist())
        found.append(Point(float(at[here].mean()), mean, mean - reach, mean + reach, band))
    return found


#: The mean of values (..., N) where a mask (N,) holds.
MEAN_INSIDE = SumMetric(
    lambda values, here: (np.broadcast_to(here, values.shape) * 1.0, values * here),
    lambda _, count, total: total / count,
)


def curves(of: Mapping[str, tuple[list[Point], list[Point]]], look: Looks) -> Figure:
    """A column a variant: above its calibration, below its errors by true score."""
    figure, plots = grid(2, len(of), width=3.1, height=2.7, sharex="row", sharey="row")
    for (above, below), (variant, (calibrated, by_score)) in zip(plots.T, of.items(), strict=True):
        _draw(above, calibrated, look[variant])
        _draw(below, by_score, look[variant])
        band = np.array([point.band for point in by_score]).T
        below.fill_between([p.at for p in by_score], *band, color=LIGHT_GRAY, alpha=0.5, lw=0)
        ends = [by_score[0].at, by_score[-1].at]
        above.plot(ends, ends, "--", color="gray", lw=0.8, zorder=0)
        below.axhline(0, ls="--", color="gray", lw=0.8, zorder=0)
        above.set_title(wrapped(variant, 24), fontsize=9)
        above.set_xlabel("mean prediction (score units)")
        below.set_xlabel("true score (score units)")
    plots[0, 0].set_ylabel("mean true score (score units)")
    plots[1, 0].set_ylabel("prediction − true score\n(score units)")
    return figure


def _draw(plot: Any, points: Sequence[Point], look: Mapping) -> None:
    """A line through the bins' means with their intervals; hollow markers where there is none."""
    at, means = [p.at for p in points], np.array([p.mean for p in points])
    plot.plot(at, means, ms=5, mfc="white", **look)
    known = [p for p in points if np.isfinite(p.low)]
    plot.plot([p.at for p in known], [p.mean for p in known], ls="", ms=5, **look)
    for p in known:
        plot.plot([p.at, p.at], [p.low, p.high], color=look["color"], lw=1.2)
