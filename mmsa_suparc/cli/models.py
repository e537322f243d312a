"""What runs here, what does not, and why."""

from __future__ import annotations

import argparse

from mmsa_suparc.cli.json_output import add_json, print_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-d", "--dataset", default=None, metavar="NAME", help="only ask about this data set"
    )
    add_json(parser)
    parser.add_argument("-v", "--verbose", type=int, choices=(0, 1, 2), default=1)


def handle(options: argparse.Namespace) -> int:
    from rich.table import Table

    from mmsa_suparc import announced
    from mmsa_suparc.cli.console import console
    from mmsa_suparc.toolkit import catalogue, settings

    announced.announce()
    dataset = settings.find_dataset(options.dataset) if options.dataset else None
    entries = catalogue.models(dataset)
    if options.json:
        found = [
            {"model": entry.name, "from": entry.origin, "runs": entry.why_not is None,
             "data_sets": list(entry.datasets), "why_not": entry.why_not}
            for entry in entries
        ]  # fmt: skip
        found += [
            {"model": name, "from": "plugin", "runs": False, "data_sets": [],
             "why_not": f"failed to load: {reason}"}
            for name, reason in announced.broken_plugins.items()
        ]  # fmt: skip
        print_json(found)
        return 0
    table = Table()
    for column in ("model", "from", "runs here", "data sets, or why not"):
        table.add_column(column, overflow="fold")
    for entry in entries:
        runs = "no" if entry.why_not else "yes"
        table.add_row(entry.name, entry.origin, runs, entry.why_not or ", ".join(entry.datasets))
    for name, reason in announced.broken_plugins.items():
        table.add_row(name, "plugin", "no", f"failed to load: {reason}")
    console().print(table)
    return 0
