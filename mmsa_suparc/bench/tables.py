"""Tables of a benchmark, for Markdown, LaTeX and the report: one description, three forms."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mmsa_suparc.bench import statistics
from mmsa_suparc.bench.comparisons import (
    BELOW_ZERO,
    ENSEMBLE,
    METHOD,
    Comparison,
    compare,
    compare_incomplete,
    seeds_in_words,
    unit_in_words,
)
from mmsa_suparc.bench.results import TRAINING_MEAN, Results
from mmsa_suparc.config import plugin_configs, read_file
from mmsa_suparc.names import METRICS


@dataclass
class Entry:
    """A cell of a table: its text, the number to sort by, and how it stands in its column."""

    text: str
    number: float = math.nan
    rank: int = 0  # 1 best, 2 second best
    mark: str = ""


@dataclass
class Table:
    """Rows of entries under a head."""

    name: str
    title: str
    head: list[str]
    rows: list[list[Entry]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


#: The split that chose each training's epoch: nothing is marked on it.
SELECTED_BY = "valid"
#: How a split's tables are called.
SPLIT_WORDS = {"test": ("results", "Test"), "valid": ("validation", "Validation")}


def main_table(results: Results, dataset: str, split: str = "test") -> Table:
    """A split's metrics, mean ± standard deviation over seeds, by variant, and the controls."""
    plan = results.plan
    metrics = results.metric_names(dataset)
    arrows = {m: "↓" if METRICS[m].better == "lower" else "↑" for m in metrics}
    name, word = SPLIT_WORDS[split]
    table = Table(
        f"{dataset}-{name}", results.title(dataset) or f"{word} results on {dataset}",
        ["variant", "seeds", *(f"{m} {arrows[m]}" for m in metrics)],
    )  # fmt: skip
    comparisons = {} if split == SELECTED_BY else compare(results, dataset, split)
    for variant in plan.variants:
        asked = plan.seeds_of(dataset, variant)
        if not asked:
            continue
        done = len(results.of(dataset, variant))
        seeds = f"{done}" if done == len(asked) else f"{done}/{len(asked)}"
        row = [Entry(variant), Entry(seeds, done)]
        for metric in metrics:
            row.append(summary(results.values(dataset, variant, metric, split)))
            if metric == "MAE" and variant in comparisons:
                row[-1].mark = comparisons[variant].mark
        table.rows.append(row)
    rank(table, [2 + place for place in range(len(metrics))], metrics)
    control = results.control(dataset, split)
    if control:
        entries = [number(control.get(metric, math.nan)) for metric in metrics]
        table.rows.append([Entry(TRAINING_MEAN), Entry("–"), *entries])
    table.notes.append("Mean ± standard deviation over seeds; best bold, second underlined.")
    if comparisons:
        table.notes += _notes_on_marks(plan.reference, comparisons)
    elif split == SELECTED_BY:
        table.notes.append("No marks: this split chose each training's epoch.")
    return table


def _notes_on_marks(reference: str, comparisons: Mapping[str, Comparison]) -> list[str]:
    means = [one.means for one in comparisons.values()]
    notes = [
        f"Marks: MAE against '{reference}', Holm over the table's {len(means)} comparison(s) "
        f"(* p < 0.05, ** p < 0.01, *** p < 0.001). {METHOD}",
        f"{unit_in_words(means[0])} {seeds_in_words(means)}",
    ]
    if min(one.fewest_seeds for one in means) < statistics.SEEDS_FOR_A_MARK:
        notes.append(f"With fewer than {statistics.SEEDS_FOR_A_MARK} seeds a side no marks.")
    return notes


def difference_table(results: Results, dataset: str, split: str = "test") -> Table:
    """MAE of each variant less the reference's: of the means over seeds, then of the ensembles
    where a side has several seeds."""
    name, word = SPLIT_WORDS[split]
    selected = split == SELECTED_BY
    return table_of(
        compare(results, dataset, split),
        f"{dataset}-{name}-differences" if selected else f"{dataset}-differences",
        f"{'Out-of-fold' if results.plan.folds else word} MAE less that of "
        f"'{results.plan.reference}' on {dataset}",
        selected=selected,
    )


def table_of(
    comparisons: Mapping[str, Comparison], name: str, title: str, *, selected: bool = False
) -> Table:
    """Comparisons with one reference.

    Args:
        selected: whether they are of the split that chose each training's epoch: no p then.
    """
    means = [one.means for one in comparisons.values()]
    table = Table(
        name, title,
        ["variant", "seeds", "difference", "95% interval",
         *([] if selected else ["p", "p (Holm)"]), "could have shown"],
        notes=[
            f"{BELOW_ZERO.capitalize()}. {METHOD} Could have shown: the smallest difference that "
            "would have been found with 80% power.",
            *([f"{unit_in_words(means[0])} {seeds_in_words(means)}"] if means else []),
        ],
    )  # fmt: skip
    averaged = {
        variant: one.ensemble
        for variant, one in comparisons.items()
        if max(one.means.seeds, one.means.reference_seeds) > 1
    }
    if averaged:
        table.notes.append(
            f"Rows '{ENSEMBLE}': predictions averaged over seeds before they are measured; other "
            "videos, but these very models."
        )
    if selected:
        table.notes.append("No p: this split chose each training's epoch.")
    for variant, one in comparisons.items():
        tests = [] if selected else [probability(one.means.p), probability(one.p_holm)]
        table.rows.append(_difference_row(variant, one.means, tests))
    for variant, ensemble in averaged.items():
        tests = [] if selected else [probability(ensemble.p), Entry("–")]
        row = _difference_row(f"{variant}, {ENSEMBLE}", ensemble, tests)
        row[1] = Entry("averaged")
        table.rows.append(row)
    return table


def _difference_row(name: str, found: statistics.Difference, tests: Sequence[Entry]) -> list[Entry]:
    seeds = " against ".join(dict.fromkeys((str(found.seeds), str(found.reference_seeds))))
    known = math.isfinite(found.low)
    limits = f"[{found.low:+.3f}, {found.high:+.3f}]" if known else "n/a"
    return [
        Entry(name), Entry(seeds, found.fewest_seeds), number(found.value, signed=True),
        Entry(limits, found.low), *tests, number(found.detectable),
    ]  # fmt: skip


def reported_table(results: Results, dataset: str) -> Table | None:
    """What the toolkit's authors report, beside what was measured; None for other data sets."""
    content = read_file(plugin_configs() / "reported" / "toolkit.yaml")
    models: dict[str, dict[str, Any]] = content["datasets"].get(dataset, {})
    if not models:
        return None
    metrics = [name for name in next(iter(models.values())) if name in METRICS]
    table = Table(
        f"{dataset}-reported", f"Reported elsewhere for {dataset}, beside what was measured here",
        ["model", "measured", "data", *metrics],
        notes=[
            f"Rows 'elsewhere' were not measured here: {content['source']}. Their data, encoder "
            "and seeds are not those of the rows 'here', so the two are no comparison of models."
        ],
    )  # fmt: skip
    for model in (*models, "suparc"):
        if model in models:
            values = models[model]
            reported = [number(values[metric] / 100) for metric in metrics]
            table.rows.append([Entry(model), Entry("elsewhere"), Entry(values["data"]), *reported])
        for variant in results.variants_of(dataset, model):
            here = [summary(results.values(dataset, variant, metric)) for metric in metrics]
            table.rows.append([Entry(variant), Entry("here"), Entry(""), *here])
    return table


def summary(values: Sequence[float]) -> Entry:
    """Mean ± standard deviation; blank without values, no deviation for one."""
    if not values or not np.isfinite(values).all():
        return Entry("" if not values else "n/a")
    mean = float(np.mean(values))
    spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
    return Entry(f"{mean:.4f}{spread}", mean)


def number(value: float, *, signed: bool = False) -> Entry:
    """One number; ``n/a`` for NaN."""
    if not math.isfinite(value):
        return Entry("n/a")
    return Entry(f"{value:+.4f}" if signed else f"{value:.4f}", value)


def probability(p: float) -> Entry:
    """A p value, to three places."""
    return Entry("<0.001" if p < 0.001 else f"{p:.3f}", p)


def rank(table: Table, columns: Sequence[int], metrics: Sequence[str]) -> None:
    """Mark the best and the second best of each column."""
    for column, metric in zip(columns, metrics, strict=True):
        entries = [row[column] for row in table.rows if math.isfinite(row[column].number)]
        sign = 1 if METRICS[metric].better == "lower" else -1
        for place, entry in enumerate(sorted(entries, key=lambda e: sign * e.number)[:2], start=1):
            entry.rank = place


def markdown(table: Table) -> str:
    """As a Markdown table with its title and notes."""

    def shown(entry: Entry) -> str:
        text = entry.text.replace("|", "\\|")
        styled = {1: f"**{text}**", 2: f"<u>{text}</u>"}.get(entry.rank, text)
        return styled + entry.mark.replace("*", "\\*")

    lines = [f"### {table.title}", "", _line(table.head), _line(["---"] * len(table.head))]
    lines += [_line([shown(entry) for entry in row]) for row in table.rows]
    return "\n".join([*lines, "", *table.notes, ""])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


LATEX = str.maketrans(
    {
        "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
        "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}",
        "±": r"$\pm$", "↓": r"$\downarrow$", "↑": r"$\uparrow$", "–": "--", "α": r"$\alpha$",
        "<": "$<$", ">": "$>$", "β": r"$\beta$",
        "η": r"$\eta$", "−": "$-$", "²": "$^2$", "τ": r"$\tau$", "Δ": r"$\Delta$",
    }
)  # fmt: skip


def latex(table: Table) -> str:
    """As a LaTeX table for ``booktabs``."""

    def shown(entry: Entry) -> str:
        text = entry.text.translate(LATEX)
        styled = {1: rf"\textbf{{{text}}}", 2: rf"\underline{{{text}}}"}.get(entry.rank, text)
        return styled + (f"$^{{{entry.mark}}}$" if entry.mark else "")

    columns = "l" + "r" * (len(table.head) - 1)
    rows = [" & ".join(shown(entry) for entry in row) + r" \\" for row in table.rows]
    return "\n".join(
        [
            r"\begin{table}", r"\centering", rf"\begin{{tabular}}{{{columns}}}", r"\toprule",
            " & ".join(cell.translate(LATEX) for cell in table.head) + r" \\", r"\midrule", *rows,
            r"\bottomrule", r"\end{tabular}",
            rf"\caption{{{' '.join([table.title + '.', *table.notes]).translate(LATEX)}}}",
            r"\end{table}", "",
        ]
    )  # fmt: skip


def comma_separated(table: Table) -> str:
    """As CSV: what is shown, with its marks, without title and notes."""
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(table.head)
    writer.writerows([entry.text + entry.mark for entry in row] for row in table.rows)
    return target.getvalue()


def as_json(results: Results) -> dict[str, Any]:
    """``summary.json``: by data set and variant, seeds, metrics, and what
    :func:`compare` found."""
    content: dict[str, Any] = {"title": results.plan.title, "reference": results.plan.reference}
    if results.plan.folds:
        content |= {"folds": results.plan.folds, "pool": list(results.plan.pool)}
    for dataset in results.plan.datasets:
        comparisons = {"difference": compare(results, dataset)}
        if not results.plan.folds:
            comparisons["valid_difference"] = compare(results, dataset, SELECTED_BY)
        comparisons["incomplete_difference"] = compare_incomplete(results, dataset)
        rows: dict[str, Any] = {}
        for variant in results.plan.variants:
            found = results.of(dataset, variant)
            asked = results.plan.seeds_of(dataset, variant)
            if not asked:
                continue
            rows[variant] = {
                "seeds": [result.cell.seed for result in found],
                "asked": len(asked),
                "test": {m: _of(results.values(dataset, variant, m)) for m in METRICS
                         if found and m in results.metric_names(dataset)},
                "valid_mae": _of(results.values(dataset, variant, "MAE", "valid")),
            }  # fmt: skip
            for key, of_variant in comparisons.items():
                if variant in of_variant:
                    rows[variant][key] = of_variant[variant].as_json()
        content.setdefault("datasets", {})[dataset] = {
            "variants": rows,
            "controls": {TRAINING_MEAN: _plain(results.control(dataset))},
        }
    return content


def _of(values: Sequence[float]) -> dict[str, Any]:
    if not values:
        return {}
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    found = {"mean": float(np.mean(values)), "sd": spread}
    plain = [float(value) if math.isfinite(value) else None for value in values]
    return {"values": plain, **_plain(found)}


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """NaN, which JSON has no word for, as null."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in values.items()
    }
