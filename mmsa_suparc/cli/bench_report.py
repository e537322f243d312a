"""Make a benchmark's report again, of all that is finished in its folder.

  mmsa bench report DIR          DIR: the --out of mmsa bench

Trains nothing and needs neither the benchmark file nor its data. DIR may be one whose benchmark
still runs, or was stopped; the page says of how many trainings it is. It covers the variants that
were asked for last and what is finished of the file's others.

A benchmark file of the name report: mmsa bench ./report --out DIR

Exit status: 0 the report is made, 2 bad input, 130 or 143 stopped by SIGINT or SIGTERM.
"""

from __future__ import annotations

import argparse
from collections.abc import Container, Iterable
from pathlib import Path
from typing import Any

from mmsa_suparc.cli import values
from mmsa_suparc.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", type=values.path, nargs="?", metavar="DIR", help="the --out of mmsa bench"
    )
    parser.add_argument(
        "--reference", action="store_true",
        help="show the figures that the toolkit's authors report beside what is measured",
    )  # fmt: skip
    parser.add_argument("--out", type=values.path, default=None, help=argparse.SUPPRESS)
    parser.add_argument("-v", "--verbose", type=int, choices=(0, 1, 2), default=1)


def handle(options: argparse.Namespace) -> int:
    from mmsa_suparc.bench import kept_plan
    from mmsa_suparc.bench.execute import stopping

    if options.out is not None or options.folder is None:
        raise UserError(
            "bench report: expected one DIR, the --out of mmsa bench; a benchmark file of that "
            "name is ./report"
        )
    out = Path(options.folder).expanduser()
    kept = kept_plan.read_begun(out)

    from mmsa_suparc.analysis.finished import report_finished

    with stopping():
        results, report = report_finished(kept, out, with_reported=options.reference)
    if options.verbose:
        tell(results, report, statuses=("failed",))
    return 0


def tell(results: Any, report: Path, *, statuses: Container[str]) -> None:
    """The main numbers, the cells of these statuses, and where the report is."""
    from mmsa_suparc.cli.console import console

    for dataset in results.plan.datasets:
        if results.labels(dataset).size:
            _print_main_table(console(), dataset, results)
    for result in results.cells:
        if result.status in statuses:
            reason = (result.failure or {}).get("lines") or ["not run"]
            print(f"failed: {result.cell.name}: {reason[-1]}")
    done = sum(result.status == "done" for result in results.cells)
    print(f"{done} of {len(results.cells)} done; report: {report}")


def _print_main_table(target: Any, dataset: str, results: Any) -> None:
    """MAE and Corr of a data set's variants, in 80 columns."""
    from mmsa_suparc.bench.tables import main_table

    whole = main_table(results, dataset)
    columns = [
        place for place, head in enumerate(whole.head)
        if place < 2 or head.split()[0] in ("MAE", "Corr")
    ]  # fmt: skip
    print_columns(target, whole, columns)


def print_columns(target: Any, whole: Any, columns: Iterable[int]) -> None:
    """Some of a table's columns."""
    from rich.table import Table

    table = Table(title=whole.title, title_justify="left")
    for place in columns:
        table.add_column(whole.head[place], justify="right" if place else "left")
    for row in whole.rows:
        table.add_row(*(row[place].text + row[place].mark for place in columns))
    target.print(table)
