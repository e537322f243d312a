"""Where on the sentiment scale does it help?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mmsa_suparc.analysis.chosen import few
from mmsa_suparc.analysis.section import Section
from mmsa_suparc.analysis.style import Looks, axes, looks, wrapped
from mmsa_suparc.bench.comparisons import BELOW_ZERO, METHOD, error_of
from mmsa_suparc.bench.results import Results
from mmsa_suparc.bench.statistics import Difference, paired_difference
from mmsa_suparc.bench.tables import Entry, Table, number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Pictures of so many variants.
MOST_SHOWN = 3
#: Letters of a title.
ROOM = 30
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
    shown, which = few(results, dataset, others, MOST_SHOWN)
    bins = bin_of(labels)
    names = sorted(set(bins.tolist()))
    by_seed = {v: results.predictions(dataset, v) for v in (plan.reference, *shown)}
    differences = {
        variant: [
            _difference(results, dataset, bins == name, by_seed[variant], reference)
            for name in names
        ]
        for variant in shown
    }
    found = Section(
        f"Intensity on {dataset}",
        f"Error by the strength of the sentiment, and where a variant differs from "
        f"{plan.reference}: its MAE in each bin less that of {plan.reference}. "
        f"{BELOW_ZERO.capitalize()}. {METHOD}",
        [_table(results, dataset, bins, by_seed)],
    )
    figure = curves(
        names,
        {v: [(d.low, d.value, d.high) for d in curve] for v, curve in differences.items()},
        plan.reference,
        looks(plan.variants),
    )
    found.draw(
        f"{dataset}-intensity",
        figure,
        f"Where on the scale a variant differs from {plan.reference} on {dataset}: its MAE by "
        f"rounded score, less that of {plan.reference}, means over seeds with 95% intervals; "
        f"{BELOW_ZERO}.{which}",
    )
    return found


def _difference(
    results: Results, dataset: str, here: np.ndarray, ours: np.ndarray, reference: np.ndarray
) -> Difference:
    """On these clips (N,) of all, by predictions (S, N) of each side."""
    groups = results.groups(dataset)
    return paired_difference(
        ours[:, here], reference[:, here], results.labels(dataset)[here],
        error_of(results, dataset), groups=None if groups is None else groups[here],
    )  # fmt: skip


def _table(
    results: Results, dataset: str, bins: np.ndarray, by_seed: Mapping[str, np.ndarray]
) -> Table:
    """By bin: the clips, and error, bias and accuracy of each variant's predictions (S, N)."""
    labels, measure = results.labels(dataset), results.measure(dataset)
    measured, error = results.metric_names(dataset), error_of(results, dataset)
    accuracy = next((name for name in FINEST if name in measured), None)
    columns = ["MAE", "bias", *([FINEST[accuracy]] if accuracy else [])]
    table = Table(
        f"{dataset}-intensity", f"By sentiment bin on {dataset}",
        ["bin", "clips", *(f"{v}: {what}" for v in by_seed for what in columns)],
        notes=["Bins are rounded scores; bias is prediction − score; means over seeds."],
    )  # fmt: skip
    for name in sorted(set(bins.tolist())):
        here = bins == name
        row = [Entry(f"{name:+g}" if name else "0", name), Entry(str(here.sum()), here.sum())]
        for predictions in by_seed.values():
            pairs = [(one[here], labels[here]) for one in predictions]
            row.append(number(float(np.mean([error(*pair) for pair in pairs]))))
            row.append(number(float(np.mean([one - y for one, y in pairs])), signed=True))
            if accuracy:
                row.append(number(float(np.mean([measure(*pair)[accuracy] for pair in pairs]))))
        table.rows.append(row)
    return table


def curves(
    bins: Sequence[float],
    differences: Mapping[str, Curve],
    reference: str,
    look: Looks,
) -> Figure:
    """A plot a variant: its MAE less the reference's by bin."""
    figure, plots = axes(len(differences))
    for plot, (variant, curve) in zip(plots, differences.items(), strict=True):
        low, value, high = zip(*curve, strict=True)
        plot.fill_between(bins, low, high, alpha=0.25, color=look[variant]["color"], lw=0)
        plot.plot(bins, value, markersize=4, **look[variant])
        plot.axhline(0, color="gray", linewidth=0.8)
        title = f"{variant} less {reference}"
        if len(title) > ROOM:
            title = f"{wrapped(variant, ROOM)}\n{wrapped(f'less {reference}', ROOM)}"
        plot.set_title(title, fontsize=9)
        plot.set_xlabel("score, rounded (score units)")
    plots[0].set_ylabel(f"difference in MAE (score units)\n{BELOW_ZERO}")
    return figure


def bin_of(labels: np.ndarray) -> np.ndarray:
    """Rounded scores; those of a [−1, 1] scale in steps of a half."""
    if np.abs(labels).max(initial=0) <= 1:
        return np.round(labels * 2) / 2
    return np.round(labels)
