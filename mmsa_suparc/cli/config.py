"""The merged configuration and where each value comes from.

mmsa config show -m suparc -d mosi
mmsa config show -m self_mm -d mosi -c mine.yaml --set batch_size=8
"""

from __future__ import annotations

import argparse

from mmsa_suparc.cli.json_output import add_json, print_json
from mmsa_suparc.cli.options import add_custom, add_model_and_data, load_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("show",), help="show: print keys, values, sources")
    add_model_and_data(parser)
    add_custom(parser)
    add_json(parser)
    parser.add_argument("-v", "--verbose", type=int, choices=(0, 1, 2), default=1)


def handle(options: argparse.Namespace) -> int:
    from rich.table import Table

    from mmsa_suparc.cli.console import print_whole
    from mmsa_suparc.toolkit.checks import FROM_DATA

    config = load_config(options)
    if options.json:
        values = {
            key: {"value": None, "source": "taken from the data"} if key in FROM_DATA
            else {"value": value, "source": config.sources[key]}
            for key, value in config.values.items()
        }  # fmt: skip
        print_json({"model": config.model, "data_set": config.dataset, "values": values})
        return 0
    table = Table(title=f"{config.model} on {config.dataset}", title_justify="left")
    for column in ("key", "value", "source"):
        table.add_column(column, overflow="fold")
    for key, value in config.values.items():
        if key in FROM_DATA:
            table.add_row(key, "", "taken from the data")
        else:
            table.add_row(key, str(value), config.sources[key])
    print_whole(table)
    return 0
