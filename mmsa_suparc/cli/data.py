"""Make feature files.

mmsa data make-demo --out DIR    the embedded data set as an ordinary feature file
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action", choices=("make-demo",), help="make-demo: write the embedded data set"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write to")
    parser.add_argument("-v", "--verbose", type=int, choices=(0, 1, 2), default=1)


def handle(options: argparse.Namespace) -> int:
    from mmsa_suparc.data.demo import SPLIT_SIZES, make_demo

    demo = make_demo(Path(options.out).expanduser())
    sizes = ", ".join(f"{split} {count}" for split, count in SPLIT_SIZES.items())
    print(f"feature file: {demo.features} ({sizes})")
    print(f"text encoder: {demo.encoder}")
    return 0
