"""What a benchmark answers, in a few sentences at the head of its report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mmsa_suparc.bench import statistics
from mmsa_suparc.bench.comparisons import Comparison, compare, compare_incomplete
from mmsa_suparc.bench.results import Results
from mmsa_suparc.bench.tables import Table

#: So many variants are spoken of one by one; of more only how many are better or worse.
MOST_SENTENCES = 5


@dataclass
class Headline:
    """Of one data set.

    Args:
        dataset: its name.
        answers: sentences, each with its interval.
        best: by metric, the variant with the best mean over seeds, and that mean.
        facts: what was measured, by how many seeds, on what.
    """

    dataset: str
    answers: list[str]
    best: dict[str, str] = field(default_factory=dict)
    facts: list[str] = field(default_factory=list)


def headline(results: Results, dataset: str, table: Table) -> Headline:
    """The answer of a data set that has predictions; without a second variant only the best.

    Args:
        table: the data set's main table.
    """
    reference = results.plan.reference
    answers = _answers(reference, compare(results, dataset))
    answers += [
        f"With modalities missing (mean of the six incomplete inputs): {answer}"
        for answer in _answers(reference, compare_incomplete(results, dataset))
    ]
    found = Headline(dataset, answers, _best(table))
    done = sum(cell.status == "done" for cell in results.cells if cell.cell.dataset == dataset)
    asked = sum(cell.dataset == dataset for cell in results.plan.cells)
    labels, groups = results.labels(dataset), results.groups(dataset)
    found.facts = [
        f"{done} of {asked} trainings done",
        f"{len(labels)} clips" if groups is None
        else f"{len(labels)} clips of {len(set(groups))} videos (or speakers)",
        "test split" if results.plan.folds is None
        else f"{results.plan.folds}-fold cross-validation, out-of-fold predictions",
    ]  # fmt: skip
    return found


def _answers(reference: str, comparisons: Mapping[str, Comparison]) -> list[str]:
    if len(comparisons) <= MOST_SENTENCES:
        return [sentence(reference, variant, one) for variant, one in comparisons.items()]
    shown = [one for one in comparisons.values() if one.mark]
    better = sum(one.means.value < 0 for one in shown)
    nearest = min(comparisons, key=lambda variant: comparisons[variant].means.value)
    return [
        f"Of {len(comparisons)} variants {better} are shown to have a lower MAE than {reference} "
        f"and {len(shown) - better} a higher one (p < 0.05 after Holm).",
        f"The lowest: {sentence(reference, nearest, comparisons[nearest])}",
    ]


def sentence(reference: str, variant: str, comparison: Comparison) -> str:
    """The reference's MAE against a variant's, with the interval, and whether it is shown."""
    found = comparison.means
    sign = 1 if found.value >= 0 else -1
    ends = sorted((sign * found.low, sign * found.high))
    size, way = f"{abs(found.value):.3f}", "lower" if sign > 0 else "higher"
    beside = "the same as" if size == "0.000" else f"{size} {way} than"
    interval = f"({_signed(ends[0])} to {_signed(ends[1])})"
    words = f"{reference}'s MAE is {beside} {variant}'s {interval}: "
    if comparison.mark:
        return f"{words}shown ({statistics.p_in_words(comparison.p_holm)} after Holm)."
    if found.fewest_seeds < statistics.SEEDS_FOR_A_MARK:
        return f"{words}not tested, {statistics.SEEDS_FOR_A_MARK} seeds a side at least are needed."
    return f"{words}not shown at this size."


def _signed(value: float) -> str:
    """Three decimals with a minus as long as a plus; ``n/a`` for NaN."""
    return "n/a" if value != value else f"{value:.3f}".replace("-", "−")


def _best(table: Table) -> dict[str, str]:
    found = {}
    for place, name in enumerate(table.head[2:], start=2):
        for row in table.rows:
            if row[place].rank == 1:
                found[name] = f"{row[0].text} ({row[place].text})"
    return found
