"""Data sets, and whether their feature files are found."""

from __future__ import annotations

import argparse
import math

from mmsa_suparc.cli import values
from mmsa_suparc.cli.json_output import add_json, print_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data-root",
        type=values.path,
        default=None,
        metavar="DIR",
        help="where to look (or set MMSA_DATA_ROOT)",
    )
    add_json(parser)
    parser.add_argument("-v", "--verbose", type=int, choices=(0, 1, 2), default=1)


def handle(options: argparse.Namespace) -> int:
    from rich.table import Table

    from mmsa_suparc import announced
    from mmsa_suparc.cli.console import print_whole
    from mmsa_suparc.names import SCORE_RANGES
    from mmsa_suparc.toolkit import settings

    announced.announce()
    known = {}
    for name in settings.dataset_names():
        if name != "custom":  # the user names its file
            path = settings.load("suparc", name, data_root=options.data_root).feature_path
            known[name] = (SCORE_RANGES.get(name, (math.nan, math.nan)), path, path.is_file())
    if options.json:
        print_json(
            [
                {"data_set": name, "score_range": scores, "found": found, "feature_file": path}
                for name, (scores, path, found) in known.items()
            ]
        )
        return 0
    table = Table()
    for column in ("data set", "scores", "found", "feature file"):
        table.add_column(column, overflow="fold")
    for name, ((low, high), path, found) in known.items():
        table.add_row(name, f"{low:g} to {high:g}", "yes" if found else "no", str(path))
    table.add_row("custom", "--score-range", "–", "your own: --features FILE")
    print_whole(table)
    print("Set the data root with --data-root DIR or MMSA_DATA_ROOT.")
    return 0
