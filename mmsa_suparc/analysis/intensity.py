"""Where on the sentiment scale does it help?"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mmsa_suparc.analysis.section import Section, axes
from mmsa_suparc.bench.results import Results
from mmsa_suparc.bench.tables import BELOW_ZERO, Entry, Table, number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESAMPLES = 2_000
#: Pictures of so many variants.
MOST_SHOWN = 3
#: The accuracies that a bin shows, and how they are called: the finest that the data set has.
#: Seven classes are of the [−3, 3] scale alone.
FINEST = {"Mult_acc_7": "Acc-7", "Mult_acc_5": "Acc-5"}


#: low, value and high of each bin.
Curve = Sequence[tuple[float, float, float]]


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
    averaged = {v: results.predictions(dataset, v).mean(axis=0) for v in (plan.reference, *others)}
    found = Section(
        f"Intensity on {dataset}",
        f"Error by the strength of the sentiment, and where a variant differs from "
        f"{plan.reference}: its absolute errors less those of {plan.reference} in each bin, with "
        f"the 95% interval over clips. {BELOW_ZERO.capitalize()}.",
        [_table(results, dataset, bins, {v: averaged[v] for v in (plan.reference, *others[:3])})],
    )
    lost = {v: np.abs(averaged[v] - labels) - np.abs(averaged[plan.reference] - labels)
            for v in others[:MOST_SHOWN]}  # fmt: skip
    found.figures[f"{dataset}-intensity"] = curves(
        names,
        {v: [interval(values[bins == name]) for name in names] for v, values in lost.items()},
        plan.reference,
    )
    return found


def _table(
    results: Results, dataset: str, bins: np.ndarray, averaged: dict[str, np.ndarray]
) -> Table:
    """By bin: the clips, and error, bias and accuracy of each variant's predictions (N,)."""
    labels, measure = results.labels(dataset), results.measure(dataset)
    measured = results.metric_names(dataset)
    accuracy = next((name for name in FINEST if name in measured), None)
    columns = ["MAE", "bias", *([FINEST[accuracy]] if accuracy else [])]
    table = Table(
        f"{dataset}-intensity", f"By sentiment bin on {dataset}",
        ["bin", "clips", *(f"{v}: {what}" for v in averaged for what in columns)],
        notes=["Bins are rounded scores; bias is prediction − score; predictions averaged over "
               "seeds."],
    )  # fmt: skip
    for name in sorted(set(bins.tolist())):
        here = bins == name
        row = [Entry(f"{name:+g}" if name else "0", name), Entry(str(here.sum()), here.sum())]
        for predictions in averaged.values():
            error = predictions[here] - labels[here]
            row += [number(np.abs(error).mean()), number(error.mean(), signed=True)]
            if accuracy:
                row.append(number(measure(predictions[here], labels[here])[accuracy]))
        table.rows.append(row)
    return table


def curves(bins: Sequence[float], differences: Mapping[str, Curve], reference: str) -> Figure:
    """A plot a variant: its absolute errors less the reference's by bin."""
    figure, plots = axes(len(differences))
    for plot, (variant, curve) in zip(plots, differences.items(), strict=True):
        low, value, high = zip(*curve, strict=True)
        plot.fill_between(bins, low, high, alpha=0.25)
        plot.plot(bins, value, marker="o", markersize=4)
        plot.axhline(0, color="gray", linewidth=0.8)
        plot.set_title(textwrap.fill(f"{variant} less {reference}", 48), fontsize=9)
        plot.set_xlabel("score (rounded)")
    plots[0].set_ylabel(f"difference of absolute errors\n{BELOW_ZERO}")
    return figure


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
