"""The table of what the losses did, for the section on geometry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmsa_suparc.bench.results import Results
from mmsa_suparc.bench.tables import Entry, Table, number
from mmsa_suparc.names import LOSS_TERMS

NOTES = (
    "Validation clips of the selected epoch in evaluation mode, in batches as the training draws "
    "them; means over seeds. Positives, negatives: shares of an anchor's batch. Margin: radians, "
    "on the pairs that carry it; saturated: the share of those whose angle with its margin is at 0 "
    "or π. Gradients: of a term times its weight with respect to the fusion vectors, as a share of "
    "the MAE's norm; cosine with the MAE's, summed over a clip's seven vectors. "
    "n/a: what the variant does without."
)


def table(results: Results, dataset: str) -> tuple[Table, list[str]] | None:
    """A row a variant whose runs told what their losses did, and its warnings, each once.

    None where no run did: other models, and runs of an older version.
    """
    told = {
        variant: found
        for variant in results.plan.variants
        if (found := [d for c in results.trained(dataset, variant) if (d := c.diagnostics())])
    }
    if not told:
        return None
    terms = [
        term
        for term in LOSS_TERMS
        if term != "mae" and any(term in each["norms"] for found in told.values() for each in found)
    ]
    made = Table(
        f"{dataset}-losses", f"What the losses did on {dataset}",
        ["variant", "positives", "negatives", "margin (mean)", "margin (largest)", "saturated",
         *(f"gradient of {term}" for term in terms), *(f"cosine of {term}" for term in terms)],
        notes=[NOTES],
    )  # fmt: skip
    warnings: list[str] = []
    for variant, found in told.items():
        # What its pairs would be says nothing of a variant without the term.
        pairs = [(each["pairs"] or {}) if "suparc" in each["norms"] else {} for each in found]
        made.rows.append(
            [
                Entry(variant),
                *(_mean([pair.get(name) for pair in pairs]) for name in
                  ("positives", "negatives", "margin_mean", "margin_largest", "saturated")),
                *(_mean([_share(each["norms"], term) for each in found]) for term in terms),
                *(_mean([each["cosines"].get(f"mae, {term}") for each in found]) for term in terms),
            ]
        )  # fmt: skip
        warnings += [
            f"{dataset}, {variant}: {line}" for line in _once([d["warnings"] for d in found])
        ]
    return made, warnings


def _once(of_seeds: Sequence[Sequence[str]]) -> list[str]:
    """Each warning in the words of the first seed that has it, and how many have it."""
    kinds: dict[str, list[str]] = {}
    for line in (line for lines in of_seeds for line in lines):
        kinds.setdefault(line.split(":")[0], []).append(line)
    return [f"{lines[0]} ({len(lines)} of {len(of_seeds)} seeds)" for lines in kinds.values()]


def _share(norms: Mapping[str, float], term: str) -> float | None:
    return norms[term] / norms["mae"] if term in norms and norms["mae"] > 0 else None


def _mean(values: Sequence[float | None]) -> Entry:
    known = [value for value in values if value is not None]
    return number(sum(known) / len(known)) if known else Entry("n/a")
