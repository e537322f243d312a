"""Is it better? Test results of all variants, their differences, and a picture of both."""

from __future__ import annotations

from mmsa_suparc.analysis.section import Section, axes
from mmsa_suparc.bench import statistics
from mmsa_suparc.bench.results import Results
from mmsa_suparc.bench.tables import compare, difference_table, main_table, reported_table


def section(results: Results, dataset: str) -> Section:
    """Always there."""
    plan = results.plan
    found = Section(
        f"Results on {dataset}",
        "Each row is a variant, each seed a training of its own. The epoch is chosen by the "
        "validation split; the test split is measured once, after training.",
        [main_table(results, dataset)],
    )
    if results.with_reported and (reported := reported_table(results, dataset)):
        found.tables.append(reported)
    validation = main_table(results, dataset, "valid")
    validation.notes.append(
        "The split that chose each training's epoch, and the one to choose settings by."
    )
    found.tables.append(validation)
    differences = compare(results, dataset)
    if not differences:
        return found
    found.tables.insert(1, difference_table(results, dataset))
    found.tables.append(difference_table(results, dataset, "valid"))
    figure, (left, right) = axes(2, height=0.32 * len(plan.variants) + 1.6)
    names = [variant for variant in plan.variants if results.of(dataset, variant)]
    for place, variant in enumerate(reversed(names)):
        values = results.values(dataset, variant, "MAE")
        color = "C1" if variant == plan.reference else "C0"
        left.plot(values, [place] * len(values), "o", color=color, alpha=0.5, markersize=4)
        left.plot([sum(values) / len(values)], [place], "|", color=color, markersize=16)
        if variant in differences:
            d, _ = differences[variant]
            right.plot([d.low, d.high], [place, place], color="C0")
            right.plot([d.value], [place], "o", color="C0", markersize=4)
    left.set_yticks(range(len(names)), list(reversed(names)), fontsize=8)
    left.set_xlabel("test MAE (score units), a point a seed")
    right.set_yticks(range(len(names)), [""] * len(names))
    right.axvline(0, color="gray", linewidth=0.8)
    right.set_xlabel(f"MAE less that of {plan.reference}, 95%")
    found.figures[f"{dataset}-results"] = figure
    fewest = min(len(results.of(dataset, variant)) for variant in names)
    if fewest < statistics.SEEDS_FOR_A_MARK:
        found.warnings.append(
            f"{dataset}: a variant has {fewest} seed(s); how much seeds differ is not known"
        )
    return found
