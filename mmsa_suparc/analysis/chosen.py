"""Of many variants, those that have room in a picture or on the page; and how what was measured is
called."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from mmsa_suparc.bench.results import Results

#: The reference, and so many less one others.
MOST_SHOWN = 4


def unseen(results: Results) -> str:
    """How the clips are called by which variants are measured: ``test``, or ``out-of-fold`` where
    there is no test split but a cross-validation."""
    return "test" if results.plan.folds is None else "out-of-fold"


def finished(results: Results, dataset: str) -> list[str]:
    """The variants that have predicted every clip with a seed at least, the reference first."""
    plan = results.plan
    first = sorted(plan.variants, key=lambda variant: variant != plan.reference)
    return [variant for variant in first if results.of(dataset, variant)]


def few(
    results: Results, dataset: str, variants: Iterable[str], most: int = MOST_SHOWN
) -> tuple[list[str], str]:
    """The variants that a figure or the page has room for: the reference, if it is among them, and
    those with the lowest MAE (mean over seeds), in the order that they came in.

    Returns:
        Them, and the end of the caption that says so; empty where all have room.
    """
    names, reference = list(variants), results.plan.reference
    if len(names) <= most:
        return names, ""

    def key(variant: str) -> tuple[bool, float]:
        errors = results.values(dataset, variant, "MAE")  # none while folds are missing
        return variant != reference, float(np.mean(errors)) if errors else math.inf

    kept = sorted(names, key=key)[:most]
    best, others = most - (reference in kept), len(names) - (reference in kept)
    words = f" Shown: {reference}, and" if reference in kept else " Shown:"
    lowest = "the one" if best == 1 else f"the {best}"
    words += f" {lowest} of {others} {'others' if reference in kept else 'variants'} with the"
    return [name for name in names if name in kept], f"{words} lowest MAE."
