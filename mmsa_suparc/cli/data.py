"""Check a feature file, or make one.

mmsa data check FILE --data-set mosi   every fault, a line each; a good file's summary
mmsa data make-demo --out DIR          the embedded data set as an ordinary feature file
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mmsa_suparc.cli.options import add_allowances


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = actions.add_parser("check", help="name every fault of a feature file, or sum it up")
    check.add_argument("file", metavar="FILE", help="feature file in the toolkit's format")
    check.add_argument(
        "--data-set", default="mosi", metavar="NAME", help="whose score range holds; default mosi"
    )
    check.add_argument(
        "--text-encoder", default=None, metavar="NAME_OR_PATH",
        help="also check token ids against this encoder's vocabulary",
    )  # fmt: skip
    check.add_argument(
        "--aligned", action="store_true", help="lengths of audio and vision are not needed"
    )
    add_allowances(check)
    make = actions.add_parser("make-demo", help="write the embedded data set")
    make.add_argument("--out", required=True, metavar="DIR", help="folder to write to")
    for each in (check, make):
        each.add_argument("-v", "--verbose", type=int, choices=(0, 1, 2), default=1)


def handle(options: argparse.Namespace) -> int:
    return _check(options) if options.action == "check" else _make_demo(options)


def _make_demo(options: argparse.Namespace) -> int:
    from mmsa_suparc.data.demo import SPLIT_SIZES, make_demo

    demo = make_demo(Path(options.out).expanduser())
    sizes = ", ".join(f"{split} {count}" for split, count in SPLIT_SIZES.items())
    print(f"feature file: {demo.features} ({sizes})")
    print(f"text encoder: {demo.encoder}")
    return 0


def _check(options: argparse.Namespace) -> int:
    from mmsa_suparc.cli.console import console
    from mmsa_suparc.data import reader, schema
    from mmsa_suparc.data.text import encoder_config, find_encoder
    from mmsa_suparc.errors import UserError, nearest
    from mmsa_suparc.names import SCORE_RANGES

    if options.data_set not in SCORE_RANGES:
        hint = nearest(options.data_set, SCORE_RANGES)
        raise UserError(f"--data-set {options.data_set}: unknown data set{hint}")
    vocabulary = None
    if options.text_encoder is not None:
        vocabulary = int(encoder_config(find_encoder(options.text_encoder)).vocab_size)
    content = reader.read(options.file)
    rules = schema.Rules(
        score_range=None if options.allow_label_range else SCORE_RANGES[options.data_set],
        lengths=not options.aligned,
        unimodal=options.data_set.startswith("sims"),
        vocabulary=vocabulary,
        allow_leak=options.allow_leak,
    )
    faults = schema.check(content, rules)
    if faults:
        raise schema.FaultsError(options.file, faults)
    for table in summary_tables(content):
        console().print(table)
    print(f"{options.file}: no fault found")
    return 0


def summary_tables(content: dict[str, Any]) -> list[Any]:
    """Shapes, labels and lengths of a good file."""
    import numpy as np
    from rich.table import Table

    from mmsa_suparc.data.schema import NUMBERS, SEQUENCES, normalised

    content = normalised(content)
    shapes = Table(title="shapes", title_justify="left")
    labels = Table(title="labels", title_justify="left")
    lengths = Table(title="frames a clip", title_justify="left")
    for table, columns in (
        (shapes, ("split", "field", "shape", "type")),
        (labels, ("split", "clips", "mean", "< 0", "= 0", "> 0", "rounded: clips")),
        (lengths, ("split", "field", "0%", "25%", "50%", "75%", "100%", "missing")),
    ):
        for column in columns:
            table.add_column(column, overflow="fold")
    for split, fields in content.items():
        for name in NUMBERS:
            if name in fields:
                shapes.add_row(split, name, str(fields[name].shape), str(fields[name].dtype))
        scores = fields["regression_labels"].reshape(-1)
        values, counts = np.unique(np.round(scores), return_counts=True)
        labels.add_row(
            split,
            str(len(scores)),
            f"{scores.mean():.3f}",
            *(str(int(part.sum())) for part in (scores < 0, scores == 0, scores > 0)),
            ", ".join(f"{v:g}: {c}" for v, c in zip(values, counts, strict=True)),
        )
        for name in SEQUENCES:
            if f"{name}_lengths" in fields:
                frames = fields[f"{name}_lengths"].reshape(-1)
                quantiles = np.quantile(frames, [0, 0.25, 0.5, 0.75, 1])
                shown = [f"{q:g}" for q in quantiles]
                lengths.add_row(split, name, *shown, f"{np.mean(frames == 0):.1%}")
    return [shapes, labels, lengths]
