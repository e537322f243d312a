"""The toolkit's metrics, with every degenerate case defined.

Equal to ``MMSA.utils.MetricsTop``, rounding to four decimals included, where that gives a number
(a test compares them). Predictions that are not finite are refused, while the toolkit gives them
a normal-looking accuracy; and where a metric does not exist, as a correlation with a constant or
an accuracy over no clips, it is NaN ("n/a"), while the toolkit crashes or warns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import numpy as np
from sklearn.metrics import f1_score

from mmsa_suparc.errors import DivergedError

NOT_AVAILABLE = float("nan")
#: Whose metrics: CMU-MOSI and MOSEI, or CH-SIMS.
Family = Literal["mosi", "sims"]
#: Where the toolkit cuts CH-SIMS' range into 2, 3 and 5 classes.
SIMS_CUTS = {2: (0.0,), 3: (-0.1, 0.1), 5: (-0.7, -0.1, 0.1, 0.7)}


def classes(values: np.ndarray, count: int, family: Family) -> np.ndarray:
    """Scores as classes, with the bins of the metrics: (N,) integers, 0 the most negative.

    ``mosi``: 2 classes are split at ≥ 0; 3, 5 and 7 are the values rounded (halves to even) and
    clipped to ±1, ±2 and ±3, of which 3 is no metric of the toolkit. ``sims``: the values clipped
    to ±1, in the intervals (a, b] between the cuts of :data:`SIMS_CUTS`, for 2, 3 and 5.

    Args:
        values: (N,), finite.
        count: the number of classes.
        family: whose bins.
    """
    values = np.asarray(values, dtype=np.float32)
    if family == "sims":
        cuts = np.array(SIMS_CUTS[count], dtype=np.float32)
        return np.digitize(np.clip(values, -1.0, 1.0), cuts, right=True)
    if count == 2:
        return (values >= 0).astype(int)
    bound = (count - 1) / 2
    return (np.round(np.clip(values, -bound, bound)) + bound).astype(int)


def mosi_metrics(prediction: np.ndarray, score: np.ndarray) -> dict[str, float]:
    """Metrics of CMU-MOSI and MOSEI, scores in [-3, 3].

    ``Has0`` splits at ≥ 0 over all clips; ``Non0`` at > 0 over the clips whose score is not 0.
    F1 is weighted by the true classes' frequencies. Accuracies of 5 and 7 classes compare
    rounded values (halves to even), clipped to ±2 and ±3.

    Args:
        prediction: (N,), finite.
        score: (N,).
    """
    prediction, score = _checked(prediction, score)
    nonzero, both = score != 0, (prediction, score)
    measured = {
        "Has0_acc_2": _accuracy(prediction >= 0, score >= 0),
        "Has0_F1_score": _weighted_f1(prediction >= 0, score >= 0),
        "Non0_acc_2": _accuracy(prediction[nonzero] > 0, score[nonzero] > 0),
        "Non0_F1_score": _weighted_f1(prediction[nonzero] > 0, score[nonzero] > 0),
        "Mult_acc_5": _accuracy(*(classes(values, 5, "mosi") for values in both)),
        "Mult_acc_7": _accuracy(*(classes(values, 7, "mosi") for values in both)),
        "MAE": _mean_absolute_error(prediction, score),
        "Corr": _correlation(prediction, score),
    }
    return _rounded(measured)


def sims_metrics(prediction: np.ndarray, score: np.ndarray) -> dict[str, float]:
    """Metrics of CH-SIMS, scores in [-1, 1]: both are clipped to it first.

    Classes are the intervals (a, b] between -1, -0.7, -0.1, 0, 0.1, 0.7, 1 as the toolkit cuts
    them for 2, 3 and 5 classes.
    """
    prediction, score = _checked(prediction, score)
    prediction, score = np.clip(prediction, -1.0, 1.0), np.clip(score, -1.0, 1.0)
    binned = {
        count: [classes(values, count, "sims") for values in (prediction, score)]
        for count in SIMS_CUTS
    }
    measured = {
        **{f"Mult_acc_{count}": _accuracy(*pair) for count, pair in binned.items()},
        "F1_score": _weighted_f1(*binned[2]),
        "MAE": _mean_absolute_error(prediction, score),
        "Corr": _correlation(prediction, score),
    }
    return _rounded(measured)


def metrics_with(names: Iterable[str]) -> Callable[[np.ndarray, np.ndarray], dict[str, float]]:
    """(predictions (N,), scores (N,)) -> the metrics of a data set that was given these."""
    return sims_metrics if "Mult_acc_3" in names else mosi_metrics


def _rounded(measured: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in measured.items()}


def _checked(prediction: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    prediction = np.asarray(prediction, dtype=np.float32).reshape(-1)
    score = np.asarray(score, dtype=np.float32).reshape(-1)
    wrong = int((~np.isfinite(prediction)).sum())
    if wrong:
        raise DivergedError(
            f"{wrong} of {len(prediction)} predictions are not finite; lower the learning rates"
        )
    return prediction, score


def _accuracy(prediction: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean(prediction == truth)) if len(truth) else NOT_AVAILABLE


def _mean_absolute_error(prediction: np.ndarray, score: np.ndarray) -> float:
    return float(np.mean(np.abs(prediction - score))) if len(score) else NOT_AVAILABLE


def _correlation(prediction: np.ndarray, score: np.ndarray) -> float:
    if len(score) < 2 or np.ptp(prediction) == 0 or np.ptp(score) == 0:
        return NOT_AVAILABLE
    return float(np.corrcoef(prediction, score)[0, 1])


def _weighted_f1(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Mean over classes of F1 = 2·TP / (2·TP + FP + FN), weighted by the true frequency."""
    if not len(truth):
        return NOT_AVAILABLE
    return float(f1_score(truth, prediction, average="weighted", zero_division=0.0))
