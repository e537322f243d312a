"""Of many variants, those that have room in a picture or on the page."""

from __future__ import annotations

import numpy as np

from mmsa_suparc.bench.results import Results

#: The reference, and so many less one others.
MOST_SHOWN = 4


def finished(results: Results, dataset: str) -> list[str]:
    """The variants that have predicted every clip with a seed at least, the reference first."""
    plan = results.plan
    first = sorted(plan.variants, key=lambda variant: variant != plan.reference)
    return [variant for variant in first if results.of(dataset, variant)]


def reference_and_best(results: Results, dataset: str) -> list[str]:
    """All that are finished where they have room; otherwise the reference and those with the lowest
    test MAE, mean over seeds. The reference first, the others in the order of the plan."""
    of = finished(results, dataset)
    errors = {v: float(np.mean(results.values(dataset, v, "MAE"))) for v in of}
    leader = [variant for variant in of if variant == results.plan.reference]
    others = sorted((v for v in of if v not in leader), key=lambda variant: errors[variant])
    kept = {*leader, *others[: MOST_SHOWN - len(leader)]}
    return [variant for variant in of if variant in kept]


def which(results: Results, dataset: str) -> str:
    """The end of a caption or a note, where not all have room; empty where they have."""
    of, shown = finished(results, dataset), reference_and_best(results, dataset)
    if len(of) == len(shown):
        return ""
    rest = sum(variant != results.plan.reference for variant in shown)
    before = f"{results.plan.reference} and " if rest < len(shown) else ""
    return f" Shown: {before}the {rest} other variants with the lowest MAE, of {len(of)} variants."
