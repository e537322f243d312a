"""Variants ranked block by block, where a block is a data set, or a fold of one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from mmsa_suparc.bench.results import Results

#: Fewer blocks or variants than this are not ranked.
FEWEST_BLOCKS, FEWEST_VARIANTS = 5, 3
LEVEL = 0.05


@dataclass(frozen=True)
class Ranking:
    """Of k variants in N blocks, the best average rank first.

    Args:
        variants: their names (k).
        ranks: average ranks (k,); 1 is best, ties share theirs.
        blocks: N.
        statistic: Friedman's χ², k − 1 degrees of freedom.
        p: of it; NaN where all are alike in every block.
        critical: Nemenyi's critical difference of two average ranks.
    """

    variants: tuple[str, ...]
    ranks: np.ndarray
    blocks: int
    statistic: float
    p: float
    critical: float

    @property
    def alike(self) -> list[tuple[int, int]]:
        """First and last place of the longest runs of variants whose difference is not shown: all,
        unless Friedman's test says that any differs; otherwise those that lie closer together than
        the critical difference. A run has two at least, and lies in no other."""
        count = len(self.variants)
        if not self.p < LEVEL:
            return [(0, count - 1)]
        found: list[tuple[int, int]] = []
        for first in range(count):
            last = int(np.flatnonzero(self.ranks - self.ranks[first] < self.critical)[-1])
            if last > first and (not found or last > found[-1][1]):
                found.append((first, last))
        return found


def ranking(names: Sequence[str], errors: np.ndarray) -> Ranking:
    """Average ranks, Friedman's test, and Nemenyi's critical difference.

    The difference is q √(k (k + 1) / (6 N)), q the 95% quantile of the studentised range of k
    means with infinite degrees of freedom, divided by √2.

    Args:
        names: of the variants (k ≥ 3).
        errors: (N, k) a block's error of each variant; lower is better.

    Source: Demšar, "Statistical comparisons of classifiers over multiple data sets" (2006).
    """
    blocks, count = errors.shape
    average = stats.rankdata(errors, axis=1).mean(axis=0)
    order = np.argsort(average, kind="stable")
    with np.errstate(invalid="ignore", divide="ignore"):
        test = stats.friedmanchisquare(*errors.T)
    quantile = float(stats.studentized_range.ppf(1 - LEVEL, count, math.inf)) / math.sqrt(2)
    return Ranking(
        variants=tuple(names[place] for place in order),
        ranks=average[order],
        blocks=blocks,
        statistic=float(test.statistic),
        p=float(test.pvalue),
        critical=quantile * math.sqrt(count * (count + 1) / (6 * blocks)),
    )


def ranked(results: Results) -> Ranking | None:
    """By the MAE, mean over seeds, in each data set or fold in which the reference is finished, of
    the variants that are finished in all of them; None with too few of either."""
    found: dict[str, dict[tuple[str, str], list[float]]] = {}
    for one in results.cells:
        if one.record:
            block = (one.cell.dataset, str(one.cell.fold or ""))
            of_variant = found.setdefault(one.cell.variant, {}).setdefault(block, [])
            of_variant.append(one.record["metrics"]["test"]["MAE"])
    blocks = sorted(found.get(results.plan.reference, {}))
    names = [one for one in results.plan.variants if set(blocks) <= set(found.get(one, {}))]
    if len(blocks) < FEWEST_BLOCKS or len(names) < FEWEST_VARIANTS:
        return None
    errors = [[float(np.mean(found[one][block])) for one in names] for block in blocks]
    return ranking(names, np.array(errors))
