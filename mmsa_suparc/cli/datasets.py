"""Data sets, and whether their feature files are found."""

from __future__ import annotations

import argparse

from mmsa_suparc.cli import values


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data-root",
        type=values.path,
        default=None,
        metavar="DIR",
        help="where to look (or set MMSA_DATA_ROOT)",
    )
    parser.add_argument("-v", "--verbose", type=int, choices=(0, 1, 2), default=1)


def handle(options: argparse.Namespace) -> int:
    from rich.table import Table

    from mmsa_suparc import announced
    from mmsa_suparc.cli.console import print_whole
    from mmsa_suparc.names import SCORE_RANGES
    from mmsa_suparc.toolkit import settings

    announced.announce()
    table = Table()
    for column in ("data set", "scores", "found", "feature file"):
        table.add_column(column, overflow="fold")
    for name in settings.dataset_names():
        if name == "custom":
            table.add_row(name, "--score-range", "–", "your own: --features FILE")
            continue
        config = settings.load("suparc", name, data_root=options.data_root)
        low, high = SCORE_RANGES.get(name, (float("nan"), float("nan")))
        found = "yes" if config.feature_path.is_file() else "no"
        table.add_row(name, f"{low:g} to {high:g}", found, str(config.feature_path))
    print_whole(table)
    print("Set the data root with --data-root DIR or MMSA_DATA_ROOT.")
    return 0
