"""What runs here, what does not, and why."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-d", "--dataset", default=None, metavar="NAME", help="only ask about this data set"
    )
    parser.add_argument("-v", "--verbose", type=int, choices=(0, 1, 2), default=1)


def handle(options: argparse.Namespace) -> int:
    from rich.table import Table

    from mmsa_suparc import announced
    from mmsa_suparc.cli.console import console
    from mmsa_suparc.toolkit import catalogue, settings

    announced.announce()
    dataset = settings.find_dataset(options.dataset) if options.dataset else None
    table = Table()
    for column in ("model", "from", "runs here", "data sets, or why not"):
        table.add_column(column, overflow="fold")
    for entry in catalogue.models(dataset):
        runs = "no" if entry.why_not else "yes"
        table.add_row(entry.name, entry.origin, runs, entry.why_not or ", ".join(entry.datasets))
    for name, reason in announced.broken_plugins.items():
        table.add_row(name, "plugin", "no", f"failed to load: {reason}")
    console().print(table)
    return 0
