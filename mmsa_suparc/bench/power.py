"""How many seeds and videos would show a difference of a given size?"""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy import stats

from mmsa_suparc.bench.comparisons import compare
from mmsa_suparc.bench.results import Results
from mmsa_suparc.bench.statistics import LEVEL, POWER, Components
from mmsa_suparc.bench.tables import Entry, Table, number
from mmsa_suparc.errors import UserError

#: More than this is called "more", and not looked for.
MOST_SEEDS, MOST_GROUPS = 1_000, 1_000_000
#: The numbers of seeds a side for which videos are counted.
SEEDS = (5, 10, 20)


def detectable(components: Components, *, groups: int, seeds: int) -> float:
    """The smallest difference that is found with 80% power by so many groups and seeds a side.

    (t₀.₉₇₅ + t₀.₈) √V with V = groups/G + seeds/S + both/(S·G), and Satterthwaite's degrees of
    freedom of G − 1 and 2 (S − 1). Infinite with one group or one seed.
    """
    if groups < 2 or seeds < 2:
        return math.inf
    of_groups = components.groups / groups + components.both / (groups * seeds)
    of_seeds = components.seeds / seeds
    variance = of_groups + of_seeds
    if variance <= 0:
        return 0.0
    spread = of_groups**2 / (groups - 1) + of_seeds**2 / (2 * (seeds - 1))
    df = max(1.0, variance**2 / spread)
    return float(stats.t.ppf((1 + LEVEL) / 2, df) + stats.t.ppf(POWER, df)) * math.sqrt(variance)


def groups_needed(components: Components, difference: float, *, seeds: int) -> int | None:
    """The fewest for this difference; None where more than :data:`MOST_GROUPS` are not enough."""
    return _fewest(
        lambda groups: detectable(components, groups=groups, seeds=seeds) <= difference, MOST_GROUPS
    )


def seeds_needed(components: Components, difference: float, *, groups: int) -> int | None:
    """The fewest a side for this difference; None where :data:`MOST_SEEDS` are not enough."""
    return _fewest(
        lambda seeds: detectable(components, groups=groups, seeds=seeds) <= difference, MOST_SEEDS
    )


def _fewest(enough: Callable[[int], bool], most: int) -> int | None:
    """The smallest number from 2 on that is enough, given that all above it are."""
    if not enough(most):
        return None
    low, high = 1, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def power_table(results: Results, dataset: str, difference: float) -> Table:
    """By variant: what the finished trainings could have shown, and what the difference needs.

    Raises:
        UserError: nothing is finished that tells how videos and seeds differ.
    """
    found = compare(results, dataset)
    known = {
        variant: one.means
        for variant, one in found.items()
        if math.isfinite(one.means.components.groups) and math.isfinite(one.means.components.seeds)
    }
    if not known:
        raise UserError(
            f"--power: too little is finished of {dataset}: found {len(found)} comparison(s) with "
            "the reference, none with two seeds a side and two videos; run the benchmark first"
        )
    one = next(iter(known.values()))
    unit = "videos" if one.grouped else "clips"
    table = Table(
        f"{dataset}-power", f"What would show {difference:g} of MAE on {dataset}, in 4 of 5 cases",
        ["variant", "shown by now", f"seeds, with {one.groups} {unit}",
         *(f"{unit}, with {seeds} seeds" for seeds in SEEDS)],
        notes=[
            "Shown by now: the smallest difference that the finished trainings would have shown "
            "with 80% power. Seeds are a side; videos are those that are predicted (a test split, "
            "or all folds). The variances between videos and seeds are estimates themselves: from "
            f"{one.groups} {unit} and few seeds they are rough.",
        ],
    )  # fmt: skip
    for variant, means in known.items():
        parts = means.components
        table.rows.append(
            [
                Entry(variant), number(means.detectable),
                _count(seeds_needed(parts, difference, groups=means.groups), MOST_SEEDS),
                *(_count(groups_needed(parts, difference, seeds=seeds), MOST_GROUPS)
                  for seeds in SEEDS),
            ]
        )  # fmt: skip
    return table


def _count(found: int | None, most: int) -> Entry:
    return Entry(f"more than {most:,}", math.inf) if found is None else Entry(f"{found:,}", found)
