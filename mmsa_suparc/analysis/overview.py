"""Is it better? Test results of all variants, their differences, and a picture of both."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mmsa_suparc.analysis.section import Section
from mmsa_suparc.analysis.style import Looks, axes, height_of_rows, looks, name_rows, wrapped
from mmsa_suparc.bench import statistics
from mmsa_suparc.bench.comparisons import BELOW_ZERO, Comparison, compare
from mmsa_suparc.bench.results import Results
from mmsa_suparc.bench.tables import difference_table, main_table, reported_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORDS = (
    "Each row is a variant, each seed a training of its own. The epoch is chosen by the "
    "validation split; the test split is measured once, after training."
)
WORDS_OF_FOLDS = (
    "Each row is a variant, each seed a training a fold. The epoch is chosen by videos of the "
    "fold's training part; each clip is predicted once a seed, by the training that saw no clip "
    "of its video."
)


def section(results: Results, dataset: str) -> Section:
    """Always there."""
    plan = results.plan
    found = Section(
        f"Results on {dataset}",
        WORDS if plan.folds is None else WORDS_OF_FOLDS,
        [main_table(results, dataset)],
    )
    if results.with_reported and (reported := reported_table(results, dataset)):
        found.tables.append(reported)
    if plan.folds is None:
        validation = main_table(results, dataset, "valid")
        validation.notes.append(
            "The split that chose each training's epoch, and the one to choose settings by."
        )
        found.tables.append(validation)
    comparisons = compare(results, dataset)
    if not comparisons:
        return found
    found.tables.insert(1, difference_table(results, dataset))
    if plan.folds is None:
        found.tables.append(difference_table(results, dataset, "valid"))
    names = [variant for variant in plan.variants if results.of(dataset, variant)]
    figure = forest(
        {variant: results.values(dataset, variant, "MAE") for variant in names},
        {v: (one.means.low, one.means.value, one.means.high) for v, one in comparisons.items()},
        plan.reference,
        looks(plan.variants),
    )
    measured = "test split" if plan.folds is None else f"{plan.folds}-fold cross-validation"
    found.draw(
        f"{dataset}-results",
        figure,
        f"MAE on {dataset} ({measured}). Left: a point a seed, a bar their mean; lower is better. "
        f"Right: each variant's mean less that of {plan.reference}, with its 95% interval; left "
        "of the line the variant is better.",
    )
    found.warnings += _warnings(dataset, comparisons)
    return found


def _warnings(dataset: str, comparisons: Mapping[str, Comparison]) -> list[str]:
    """What makes intervals too short, or too long to be of use."""
    means = [one.means for one in comparisons.values()]
    warnings, one = [], means[0]
    fewest = min(each.fewest_seeds for each in means)
    if fewest < statistics.SEEDS_FOR_A_MARK:
        warnings.append(
            f"{dataset}: a variant has {fewest} seed(s); how much seeds differ is not known"
        )
    if not one.grouped:
        warnings.append(
            f"{dataset}: nothing is known of the clips' videos; each clip counts as one, and "
            "intervals are too short where clips of a video are alike"
        )
    elif one.groups < statistics.FEW_GROUPS:
        shown = [each.detectable for each in means if math.isfinite(each.detectable)]
        limit = f"only differences above {min(shown):.3f}" if shown else "no difference"
        warnings.append(
            f"{dataset}: videos that were predicted: {one.groups}; {limit} could have been shown"
        )
    return warnings


def forest(
    errors: Mapping[str, Sequence[float]],
    differences: Mapping[str, tuple[float, float, float]],
    reference: str,
    look: Looks,
) -> Figure:
    """A row a variant, the first on top: its test MAE by seed, and the difference of the means.

    Args:
        errors: by variant and seed.
        differences: lower end, value and upper end; none of the reference's own.
        reference: the variant with which the others are compared.
        look: colour and marker of each.
    """
    figure, (left, right) = axes(
        2, height=height_of_rows(list(errors), 0.32) + 1.8, share_rows=True
    )
    for place, (variant, values) in enumerate(errors.items()):
        color, marker = look[variant]["color"], look[variant]["marker"]
        left.plot(values, [place] * len(values), marker, color=color, alpha=0.5, markersize=4)
        left.plot([sum(values) / len(values)], [place], "|", color=color, markersize=16)
        if variant in differences:
            low, value, high = differences[variant]
            right.plot([low, high], [place, place], color=color)
            right.plot([value], [place], marker, color=color, markersize=4)
    name_rows(left, list(errors))
    left.set_xlabel("MAE (score units), a point a seed\n← lower is better")
    right.axvline(0, color="gray", linewidth=0.8)
    right.set_xlabel(f"{wrapped(f'mean MAE less that of {reference}, 95%', 42)}\n{BELOW_ZERO}")
    return figure
