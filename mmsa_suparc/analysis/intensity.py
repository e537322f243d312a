"""Where on the sentiment scale does it help?"""

from __future__ import annotations

import numpy as np

from mmsa_suparc.analysis.section import Section, axes
from mmsa_suparc.bench.results import Results
from mmsa_suparc.bench.tables import Entry, Table, number

RESAMPLES = 2_000


def section(results: Results, dataset: str) -> Section | None:
    """There where the reference and another variant are done."""
    plan = results.plan
    labels = results.labels(dataset)
    reference = results.predictions(dataset, plan.reference)
    others = [v for v in plan.variants if v != plan.reference and results.of(dataset, v)]
    if not len(reference) or not others:
        return None
    bins = bin_of(labels)
    names = sorted(set(bins.tolist()))
    table = Table(
        f"{dataset}-intensity", f"By sentiment bin on {dataset}",
        ["bin", "clips", *(f"{v}: {what}" for v in (plan.reference, *others[:3])
                           for what in ("MAE", "bias", "Acc-7"))],
        notes=["Bins are rounded scores; bias is prediction − score; predictions averaged over "
               "seeds."],
    )  # fmt: skip
    averaged = {v: results.predictions(dataset, v).mean(axis=0) for v in (plan.reference, *others)}
    for name in names:
        here = bins == name
        row = [Entry(f"{name:+.0f}" if name else "0", name), Entry(str(here.sum()), here.sum())]
        for variant in (plan.reference, *others[:3]):
            error = averaged[variant][here] - labels[here]
            same = np.round(averaged[variant][here]) == np.round(labels[here])
            row += [number(np.abs(error).mean()), number(error.mean(), signed=True)]
            row.append(number(same.mean()))
        table.rows.append(row)
    found = Section(
        f"Intensity on {dataset}",
        f"Error by the strength of the sentiment, and where {plan.reference} helps: the difference "
        "of absolute errors in each bin with its 95% interval over clips. Below 0 the reference "
        "is better.",
        [table],
    )
    figure, plots = axes(min(3, len(others)))
    for plot, variant in zip(plots, others, strict=False):
        gain = np.abs(averaged[plan.reference] - labels) - np.abs(averaged[variant] - labels)
        low, value, high = zip(*(interval(gain[bins == name]) for name in names), strict=True)
        plot.fill_between(names, low, high, alpha=0.25)
        plot.plot(names, value, marker="o", markersize=4)
        plot.axhline(0, color="gray", linewidth=0.8)
        plot.set_xlabel("score (rounded)")
        plot.set_ylabel(f"{plan.reference} less {variant}"[:44])
    found.figures[f"{dataset}-intensity"] = figure
    return found


def bin_of(labels: np.ndarray) -> np.ndarray:
    """Rounded scores; those of a [−1, 1] scale in steps of a half."""
    if np.abs(labels).max(initial=0) <= 1:
        return np.round(labels * 2) / 2
    return np.round(labels)


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Low, mean and high by the bootstrap over clips."""
    chance = np.random.default_rng(0)
    drawn = chance.choice(values, size=(RESAMPLES, len(values))).mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(values.mean()), float(high)
