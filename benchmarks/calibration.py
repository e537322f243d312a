"""How often are the intervals of ``mmsa bench`` right? Simulations whose truth is known.

  python benchmarks/calibration.py [--replicates 1000] [--videos 10 60] [--seeds 3 5 10]

prints a table in Markdown. Clips come in videos of unequal length, about 23 clips each, as in MOSI.
The error of a model in a clip is normal: half of its variance is shared by all models, a fifth by
the model's seeds, the rest is the seed's own; each part is correlated within videos. A seed's MAE
is off by 2% (a standard deviation). So the mean absolute error is known, and so is the difference.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from mmsa_suparc.bench.resampling import mae
from mmsa_suparc.bench.statistics import Difference, paired_difference

SHARED, OF_MODEL, OF_SEED = 0.5, 0.2, 0.3
MAE, SEEDS_DIFFER = 0.8, 0.02
CLIPS_A_VIDEO, LENGTHS_DIFFER = 23, 0.45
DIFFERENCE, RESAMPLES = 0.02, 400


@dataclass(frozen=True)
class Case:
    """A kind of data and of benchmark.

    Args:
        videos: groups of clips.
        correlation: of errors within a video, 0 to 1.
        seeds: a side.
    """

    videos: int
    correlation: float
    seeds: int


@dataclass(frozen=True)
class Outcome:
    """Shares of simulated comparisons.

    Args:
        false: found a difference where there was none.
        covered: the interval held a difference of :data:`DIFFERENCE`.
        power: of :data:`DIFFERENCE` was found.
        best: the power of a test that knows the standard error.
        power_at_80: of a difference for which that power is 80%.
    """

    false: float
    covered: float
    power: float
    best: float
    power_at_80: float


def comparisons(
    case: Case, difference: float, replicates: int, seed: int = 0, *, grouped: bool = True
) -> Iterator[Difference]:
    """As many as asked for, of data whose true difference in MAE is this."""
    chance = np.random.default_rng(seed)
    for _ in range(replicates):
        shape = 1 / LENGTHS_DIFFER**2
        lengths = chance.gamma(shape, CLIPS_A_VIDEO / shape, size=case.videos)
        groups = np.repeat(np.arange(case.videos), np.maximum(1, lengths.round().astype(int)))

        def errors(*shape: int, at: np.ndarray = groups) -> np.ndarray:
            of_video = chance.normal(size=(*shape, case.videos))[..., at]
            own = chance.normal(size=(*shape, len(at)))
            return math.sqrt(case.correlation) * of_video + math.sqrt(1 - case.correlation) * own

        shared, sides = errors(), []
        for error in (MAE + difference, MAE):
            parts = (
                math.sqrt(SHARED) * shared
                + math.sqrt(OF_MODEL) * errors()
                + math.sqrt(OF_SEED) * errors(case.seeds)
            )
            of_seed = 1 + SEEDS_DIFFER * chance.normal(size=(case.seeds, 1))
            # E|x| = √(2/π) σ of a normal x.
            sides.append(error * math.sqrt(math.pi / 2) * of_seed * parts)
        yield paired_difference(
            *sides, np.zeros(len(groups)), mae, resamples=RESAMPLES,
            groups=groups if grouped else None,
        )  # fmt: skip


def outcome(case: Case, replicates: int, seed: int = 0) -> Outcome:
    """Of comparisons without a difference, and with one."""
    without = list(comparisons(case, 0.0, replicates, seed))
    with_one = list(comparisons(case, DIFFERENCE, replicates, seed + 1))
    error = float(np.std([one.value for one in without]))
    at_80 = (stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) * error
    return Outcome(
        false=share(one.p < 0.05 for one in without),
        covered=share(one.low <= DIFFERENCE <= one.high for one in with_one),
        power=share(one.p < 0.05 for one in with_one),
        best=best_power(DIFFERENCE, error),
        power_at_80=share(not one.low <= -at_80 <= one.high for one in without),
    )


def best_power(difference: float, error: float) -> float:
    """Of the two-sided z test at 5%."""
    limit, shift = stats.norm.ppf(0.975), difference / error
    return float(stats.norm.sf(limit - shift) + stats.norm.cdf(-limit - shift))


def share(true: Iterator[bool]) -> float:
    """Of those that are true."""
    return float(np.mean(list(true)))


def markdown(cases: Sequence[Case], replicates: int) -> Iterator[str]:
    """The table, a line a case."""
    yield (
        "| videos | correlation | seeds | false positives | coverage | power at 0.02 (best) | "
        "power where the best has 80% |"
    )
    yield "|---|---|---|---|---|---|---|"
    for case in cases:
        found = outcome(case, replicates)
        yield (
            f"| {case.videos} | {case.correlation:g} | {case.seeds} | {found.false:.1%} | "
            f"{found.covered:.1%} | {found.power:.0%} ({found.best:.0%}) | "
            f"{found.power_at_80:.0%} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--videos", type=int, nargs="+", default=[10, 60])
    parser.add_argument("--correlation", type=float, nargs="+", default=[0.0, 0.2, 0.4])
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 5, 10])
    options = parser.parse_args()
    cases = [
        Case(videos, correlation, seeds)
        for videos in options.videos
        for correlation in options.correlation
        for seeds in options.seeds
    ]
    for line in markdown(cases, options.replicates):
        print(line, flush=True)


if __name__ == "__main__":
    main()
