"""What happens when modalities are missing, frames are lost, or features are noisy?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import integrate

from mmsa_suparc.analysis.chosen import unseen
from mmsa_suparc.analysis.section import Section
from mmsa_suparc.analysis.style import axes, legend_above, looks
from mmsa_suparc.bench.comparisons import COMPLETE, compare_incomplete, error_of
from mmsa_suparc.bench.results import Results
from mmsa_suparc.bench.tables import Entry, Table, number, rank, table_of
from mmsa_suparc.names import MODALITIES

PROTOCOLS = {
    "P2": "random modality rate η",
    "P3": "drop rate of frames and tokens",
    "noise": "noise on audio and vision\n(standard deviations)",
}
#: By protocol, what the table of its differences is called, and the mean of which levels it is.
MEANS = {
    "P1": ("subsets", "the six incomplete"),
    "P2": ("modalities", "all rates above 0 at which modalities are lost (P2)"),
    "P3": ("frames", "all rates above 0 at which frames and tokens are lost (P3)"),
    "noise": ("noise", "all noise above 0 on audio and vision"),
}


def section(results: Results, dataset: str) -> Section | None:
    """There where a cell was probed for missing modalities or noise."""
    errors = measured(results, dataset)
    if errors.empty:
        return None
    measured_by = unseen(results)
    found = Section(
        f"Missing and noisy modalities on {dataset}",
        f"{measured_by.capitalize()} MAE of the trained models when inputs are taken away. P1: "
        "every clip keeps the named modalities (t text, a audio, v vision). P2: each modality of "
        "each clip is lost with probability η, at least one is kept. P3: each frame and token is "
        "lost with probability r. All models lose the same. Models without a mask input see zeroed "
        "features and an empty sentence.",
    )
    subsets = errors[errors["protocol"] == "P1"]
    if not subsets.empty:
        found.tables.append(_subset_table(results, dataset, subsets))
    for protocol, (name, mean) in MEANS.items():
        if comparisons := compare_incomplete(results, dataset, protocol):
            title = (
                f"{measured_by.capitalize()} MAE, mean of {mean}, less that of "
                f"'{results.plan.reference}' on {dataset}"
            )
            found.tables.append(table_of(comparisons, f"{dataset}-{name}-differences", title))
    if (order := _order_table(results, dataset)) is not None:
        found.tables.append(order)
    curves = [p for p in PROTOCOLS if (errors["protocol"] == p).any()]
    if curves:
        figure, plots = axes(len(curves))
        look = looks(results.plan.variants)
        for plot, protocol in zip(plots, curves, strict=True):
            part = errors[errors["protocol"] == protocol]
            for variant in results.plan.variants:
                line = part[part["variant"] == variant].groupby("level")["mae"].mean()
                if len(line):
                    levels = line.index.astype(float)
                    plot.plot(levels, line.to_numpy(), ms=5, label=variant, **look[variant])
            plot.set_xlabel(PROTOCOLS[protocol])
        plots[0].set_ylabel(f"{measured_by} MAE (score units)\nlower is better")
        legend_above(figure, plots)
        found.draw(
            f"{dataset}-missing",
            figure,
            f"{measured_by.capitalize()} MAE on {dataset}, mean over seeds, when more and more is "
            "taken away from the inputs of the trained models: a panel a way of taking away."
            f"{_left_out(results, dataset, errors, curves)}",
        )
        found.tables.append(_area_table(results, dataset, errors, curves))
    found.warnings += _warnings(results, dataset, subsets)
    return found


def _left_out(
    results: Results, dataset: str, errors: pd.DataFrame, protocols: Sequence[str]
) -> str:
    """The end of the caption: the benchmark's variants that have no line, in any panel or in some
    of them; empty where all have one in each."""
    drawn = {name: set(errors.loc[errors["protocol"] == name, "variant"]) for name in protocols}
    lacking: dict[tuple[str, ...], list[str]] = {}
    for variant in results.plan.variants:
        if results.plan.seeds_of(dataset, variant):
            where = tuple(name for name in protocols if variant not in drawn[name])
            lacking.setdefault(where, []).append(variant)
    whole = lacking.pop(tuple(protocols), [])
    words = f" Left out, because not measured so: {', '.join(whole)}." if whole else ""
    for where, variants in lacking.items():
        if where:
            panels = " and ".join(f"'{PROTOCOLS[name].splitlines()[0]}'" for name in where)
            words += f" Not in the panel {panels}: {', '.join(variants)}."
    return words


def measured(results: Results, dataset: str) -> pd.DataFrame:
    """variant, seed, protocol, level, mae."""
    labels, error = results.labels(dataset), error_of(results, dataset)
    rows = [
        {
            "variant": result.cell.variant,
            "seed": result.cell.seed,
            "protocol": protocol,
            "level": level,
            "mae": error(predictions, labels),
        }
        for variant in results.plan.variants
        for result in results.of(dataset, variant)
        for name in ("missing", "noise")
        for (protocol, level), predictions in results.probed(result, name).items()
    ]
    return pd.DataFrame(rows)


def _subset_table(results: Results, dataset: str, subsets: pd.DataFrame) -> Table:
    levels = list(dict.fromkeys(subsets["level"]))
    table = Table(
        f"{dataset}-subsets",
        f"{unseen(results).capitalize()} MAE by modalities kept (P1) on {dataset}",
        ["variant", *levels, "mean of the six incomplete"],
        notes=["Mean over seeds; best bold, second underlined."],
    )  # fmt: skip
    for variant in results.plan.variants:
        part = subsets[subsets["variant"] == variant]
        if part.empty:
            continue
        means = part.groupby("level")["mae"].mean()
        incomplete = float(np.mean([means[level] for level in levels if level != COMPLETE]))
        table.rows.append(
            [Entry(variant), *(number(float(means[level])) for level in levels), number(incomplete)]
        )
    columns = list(range(1, len(table.head)))
    rank(table, columns, ["MAE"] * len(columns))
    return table


def _order_table(results: Results, dataset: str) -> Table | None:
    """How often the modality triplet's order holds, by nested pair; None without that probe."""
    shares = {
        variant: pd.concat(tables).groupby(["one", "two"], sort=False)["share"].mean()
        for variant in results.plan.variants
        if (tables := [
            table for cell in results.of(dataset, variant)
            if (table := cell.read("geometry.csv")) is not None and len(table)
        ])
    }  # fmt: skip
    if not shares:
        return None
    names = list(next(iter(shares.values())).index)
    return Table(
        f"{dataset}-triplet", f"Triplet order by modality combination on {dataset}",
        ["variant", *(f"{one} before {two}" for one, two in names)],
        rows=[
            [Entry(variant), *(number(float(share[pair])) for pair in names)]
            for variant, share in shares.items()
        ],
        notes=[f"Share of {unseen(results)} clips whose complete fusion vector is closer (cosine) "
               "to the one that keeps the first modalities than to the one that keeps the second. "
               "Mean over seeds."],
    )  # fmt: skip


def _area_table(
    results: Results, dataset: str, errors: pd.DataFrame, protocols: list[str]
) -> Table:
    table = Table(
        f"{dataset}-areas", f"Mean MAE over the levels of each protocol on {dataset}",
        ["variant", *protocols],
        notes=["The area under each curve divided by its length; lower is better."],
    )  # fmt: skip
    for variant in results.plan.variants:
        part = errors[errors["variant"] == variant]
        if part.empty:
            continue
        row = [Entry(variant)]
        for protocol in protocols:
            line = part[part["protocol"] == protocol].groupby("level")["mae"].mean()
            line.index = line.index.astype(float)
            line = line.sort_index()
            if len(line) < 2:
                row.append(Entry(""))
                continue
            area = float(integrate.trapezoid(line.to_numpy(), line.index.to_numpy()))
            row.append(number(area / float(line.index[-1] - line.index[0])))
        table.rows.append(row)
    rank(table, list(range(1, len(table.head))), ["MAE"] * len(protocols))
    return table


def _warnings(results: Results, dataset: str, subsets: pd.DataFrame) -> list[str]:
    """A model that does far worse with one modality gone than with all."""
    warnings = []
    for variant, part in subsets.groupby("variant", sort=False):
        means = part.groupby("level")["mae"].mean()
        pairs = [(means[level], level) for level in means.index if len(level) == 2]
        worst = max(pairs, default=(0.0, ""))
        if COMPLETE not in means or worst[0] <= 1.5 * means[COMPLETE]:
            continue
        (lost,) = (name for name in MODALITIES if name[0] not in worst[1])
        values = results.trained(dataset, str(variant))[0].values()
        untrained = values.get("weight_masked") == values.get("mask_rate") == 0
        warnings.append(
            f"{dataset}, {variant}: without {lost} its MAE is {worst[0] / means[COMPLETE] - 1:.0%} "
            f"larger{'; weight_masked trains for that' if untrained else ''}"
        )
    return warnings
