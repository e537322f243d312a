"""The report of a benchmark: one HTML file that needs no network, and the same as files."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from mmsa_suparc.analysis import (
    calibration,
    clips,
    conflict,
    confusion,
    cost,
    geometry,
    intensity,
    missing,
    overview,
    ranks,
    threshold,
)
from mmsa_suparc.analysis.headline import Headline, headline
from mmsa_suparc.analysis.section import Section
from mmsa_suparc.bench import tables
from mmsa_suparc.bench.results import Results
from mmsa_suparc.data.files import write_atomically, write_text

#: Each takes the results and a data set, and has a section where there is something to say.
ANALYSES: tuple[Callable[[Results, str], Section | None], ...] = (
    overview.section,
    threshold.section,
    missing.section,
    intensity.section,
    calibration.section,
    confusion.section,
    geometry.section,
    conflict.section,
    cost.section,
    clips.section,
)


def write_report(results: Results, folder: Path, *, environment: Mapping[str, Any]) -> Path:
    """Write ``results.csv`` (``.parquet`` too where pyarrow is), ``summary.json``, ``tables/``,
    ``figures/`` and ``report.html``; of a cross-validation ``out_of_fold.csv`` too.

    Returns:
        The report's path.

    Raises:
        UserError: cells that were measured on other clips.
    """
    # Whatever can be refused is refused before a file is written.
    tidy, summary = results.tidy(), tables.as_json(results)
    measured = [dataset for dataset in results.plan.datasets if results.labels(dataset).size]
    found = {
        dataset: [section for one in ANALYSES if (section := one(results, dataset)) is not None]
        for dataset in measured
    }
    headlines = [headline(results, name, of[0].tables[0]) for name, of in found.items()]
    over_blocks = ranks.section(results)
    sections = [section for of in found.values() for section in of]
    sections += [over_blocks] if over_blocks else []
    write_text(folder / "results.csv", tidy.to_csv(index=False))
    if find_spec("pyarrow"):
        columns = tidy.to_parquet(index=False)
        write_atomically(folder / "results.parquet", lambda file: file.write(columns))
    if results.plan.folds is not None:
        write_text(folder / "out_of_fold.csv", results.out_of_fold().to_csv(index=False))
    write_text(folder / "summary.json", json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    pictures: dict[str, str] = {}
    for section in sections:
        for table in section.tables:
            write_text(folder / "tables" / f"{table.name}.md", tables.markdown(table))
            write_text(folder / "tables" / f"{table.name}.tex", tables.latex(table))
        if section.clips is not None:
            write_text(folder / "tables" / f"{section.clips.name}.csv", section.clips.csv)
        for name, figure in section.figures.items():
            pictures[name] = svg(figure)
            write_text(folder / "figures" / f"{name}.svg", pictures[name])
            write_atomically(folder / "figures" / f"{name}.pdf", partial(_write_pdf, figure))
    target = folder / "report.html"
    write_text(target, _html(results, headlines, sections, pictures, environment))
    return target


def unfinished(results: Results) -> str:
    """Of how many trainings a report is, while it is not of all; empty when it is."""
    count = Counter(result.status for result in results.cells)
    if count["done"] == len(results.cells):
        return ""
    words = {"failed": "failed", "missing": "not finished"}
    others = ", ".join(f"{count[status]} {word}" for status, word in words.items() if count[status])
    return f"Of {count['done']} of {len(results.cells)} trainings: {others}."


def svg(figure: Any) -> str:
    """A figure as text that may stand in a page; the same for the same figure."""
    import matplotlib as mpl

    target = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "mmsa-suparc", "svg.fonttype": "path"}):
        figure.savefig(target, format="svg", metadata={"Date": None, "Creator": None})
    return target.getvalue()


def _write_pdf(figure: Any, file: Any) -> None:
    """The same for the same figure; letters as letters, which one can select and search."""
    import matplotlib as mpl

    with mpl.rc_context({"pdf.fonttype": 42}):
        figure.savefig(file, format="pdf", metadata={"CreationDate": None})


def _html(
    results: Results,
    headlines: list[Headline],
    sections: list[Section],
    pictures: Mapping[str, str],
    environment: Mapping[str, Any],
) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    loader = PackageLoader("mmsa_suparc.analysis", "templates")
    page = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    inline = {name: Markup(text[text.index("<svg") :]) for name, text in pictures.items()}
    return page.get_template("report.html").render(
        title=results.plan.title or "Benchmark",
        headlines=headlines,
        unfinished=unfinished(results),
        sections=sections,
        copied=[[_copied(table) for table in section.tables] for section in sections],
        pictures=inline,
        cells=results.cells,
        made=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        environment=environment,
        plan=yaml.safe_dump(
            [
                {"variant": c.variant, "model": c.model, "dataset": c.dataset, "seed": c.seed,
                 **({"fold": str(c.fold)} if c.fold else {}), "values": dict(c.values)}
                for c in results.plan.cells
            ],
            sort_keys=False, allow_unicode=True,
        ),
    )  # fmt: skip


def _copied(table: tables.Table) -> dict[str, str]:
    """A table as what may be copied of it, by the name of the form."""
    return {
        "LaTeX": tables.latex(table),
        "Markdown": tables.markdown(table),
        "CSV": tables.comma_separated(table),
    }
