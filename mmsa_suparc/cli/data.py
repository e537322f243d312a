"""Check, describe or make a feature file, or look after the cache of features.

mmsa data check FILE --data-set mosi   every fault, a line each; a good file's summary
mmsa data make-demo --out DIR          the embedded data set as an ordinary feature file
mmsa data make-demo --shape mosei …    clips of the same kind, in the sizes of CMU-MOSEI
mmsa data make-demo --shape sims …     Chinese ones in CH-SIMS's format, a label for each modality
mmsa data convert SOURCE --out FILE    a feature file of arrays, data sets and dictionaries
mmsa data card FILE                    shapes, scores, videos, origin, what splits share
mmsa data cache --list                 what the cache of features holds; sweeps it
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mmsa_suparc.cli import data_files, values
from mmsa_suparc.cli.json_output import add_json, print_json
from mmsa_suparc.cli.options import add_allowances, add_score_range, score_range

#: What ``make-demo`` takes the sizes of, beside the clips.
SIZES = (
    "tokens", "audio_frames", "vision_frames", "text_width", "audio_width", "vision_width",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = actions.add_parser("check", help="name every fault of a feature file, or sum it up")
    check.add_argument(
        "file", type=values.path, metavar="FILE", help="feature file in the toolkit's format"
    )
    check.add_argument(
        "-d", "--data-set", default="mosi", metavar="NAME",
        help="whose score range holds; custom takes --score-range; default mosi",
    )  # fmt: skip
    add_score_range(check)
    check.add_argument(
        "--text-encoder", default=None, metavar="NAME_OR_PATH",
        help="also check token ids against this encoder's vocabulary",
    )  # fmt: skip
    check.add_argument(
        "--aligned", action="store_true", help="lengths of audio and vision are not needed"
    )
    add_allowances(check)
    add_json(check)
    make = actions.add_parser("make-demo", help="write the embedded data set")
    make.add_argument(
        "--out", type=values.path, required=True, metavar="DIR", help="folder to write to"
    )
    make.add_argument(
        "--shape", choices=("demo", "mosei", "sims"), default="demo",
        help="the embedded data set; CMU-MOSEI's sizes (8.6 GB); sims: small, in Chinese, with a "
        "label for each modality; default demo",
    )  # fmt: skip
    make.add_argument(
        "--clips", type=values.whole(1, 1_000_000), nargs=3, metavar=("TRAIN", "VALID", "TEST"),
        help="clips of each split instead of the shape's",
    )  # fmt: skip
    for name in SIZES:
        make.add_argument(
            f"--{name.replace('_', '-')}",
            type=values.whole(1, 10_000),
            metavar="N",
            help="instead of the shape's",
        )
    card = data_files.add_card(actions)
    convert = data_files.add_convert(actions)
    cache = actions.add_parser("cache", help="feature files kept as memory-mapped arrays")
    what = cache.add_mutually_exclusive_group(required=True)
    what.add_argument("--list", action="store_true", help="what it holds, and of which files")
    what.add_argument("--verify", action="store_true", help="read all, compare the checksums")
    what.add_argument("--clear", action="store_true", help="remove all of it")
    for each in (check, card, convert, make, cache):
        each.add_argument("-v", "--verbose", type=int, choices=(0, 1, 2), default=1)


def handle(options: argparse.Namespace) -> int:
    does = {
        "check": _check, "card": data_files.make_card, "convert": data_files.convert,
        "make-demo": _make_demo, "cache": _cache,
    }  # fmt: skip
    return does[options.action](options)


def _make_demo(options: argparse.Namespace) -> int:
    from dataclasses import replace

    from mmsa_suparc.data.demo import SHAPES, make_demo
    from mmsa_suparc.errors import UserError
    from mmsa_suparc.names import SPLITS

    chosen = {name: getattr(options, name) for name in SIZES if getattr(options, name) is not None}
    shape = replace(SHAPES[options.shape], **chosen)
    if options.clips:
        shape = replace(shape, clips=dict(zip(SPLITS, options.clips, strict=True)))
    if shape.tokens < shape.words.longest:
        raise UserError(f"--tokens {shape.tokens}: expected at least {shape.words.longest}")
    out = Path(options.out).expanduser()
    made = out / shape.name
    if made.exists() and shape != SHAPES["demo"]:
        raise UserError(f"--out {out}: holds a feature file; choose another folder")
    demo = make_demo(out, shape)
    sizes = ", ".join(f"{split} {count}" for split, count in shape.clips.items())
    print(f"feature file: {demo.features} ({sizes})")
    print(f"text encoder: {demo.encoder}")
    if options.shape == "sims":
        print(f"use them with: -d sims --data-root {out} --text-encoder {demo.encoder}")
    return 0


def _cache(options: argparse.Namespace) -> int:
    from mmsa_suparc.data import cache, feature_cache, inputs
    from mmsa_suparc.errors import UserError

    if options.clear:
        print(f"freed {(feature_cache.clear() + inputs.clear()) / 2**20:.1f} MiB")
        return 0
    broken = []
    for entry in feature_cache.entries():
        print(f"{entry.bytes / 2**20:9.1f} MiB  {entry.source}")
        if options.verify:
            broken += [f"{entry.folder / name}" for name in entry.broken_arrays()]
    for path in inputs.kept():
        print(f"{cache.size_of(path) / 2**20:9.1f} MiB  {path} (sent by another machine)")
    for half in cache.sweep():
        why = "removed: left by a killed process" if half.removed else "being made"
        print(f"{half.bytes / 2**20:9.1f} MiB  {half.path} ({why})")
    if broken:
        raise UserError(
            f"not as they were written: {', '.join(broken)}; use: mmsa data cache --clear"
        )
    return 0


def _check(options: argparse.Namespace) -> int:
    from mmsa_suparc.cli.console import console
    from mmsa_suparc.data import reader, schema
    from mmsa_suparc.data.releases import release_of
    from mmsa_suparc.data.text import encoder_config, find_encoder
    from mmsa_suparc.errors import UserError, nearest
    from mmsa_suparc.names import SCORE_RANGES

    allowed = {**SCORE_RANGES, "custom": score_range(options)}
    if options.data_set not in allowed:
        hint = nearest(options.data_set, allowed)
        raise UserError(f"--data-set {options.data_set}: unknown data set{hint}")
    if options.score_range and options.data_set != "custom":
        raise UserError("--score-range is for data of one's own: --data-set custom")
    vocabulary = None
    if options.text_encoder is not None:
        vocabulary = int(encoder_config(find_encoder(options.text_encoder)).vocab_size)
    content = reader.read(options.file)
    rules = schema.Rules(
        score_range=None if options.allow_label_range else allowed[options.data_set],
        lengths=not options.aligned,
        unimodal=options.data_set.startswith("sims"),
        vocabulary=vocabulary,
        allow_leak=options.allow_leak,
    )
    faults = schema.check(content, rules)
    if options.json:
        found = [
            {"split": f.split, "field": f.field, "expected": f.expected, "found": f.found}
            for f in faults
        ]
        told = {} if faults else summary(content)
        print_json({"file": options.file, "faults": found, "splits": told})
    if faults:
        raise schema.FaultsError(options.file, faults, advice="mend the file, then check it again")
    if options.json:
        return 0
    for table in summary_tables(summary(content)):
        console().print(table)
    release = release_of(Path(options.file).expanduser())
    print(f"{options.file}: no fault found{f'; this is {release}' if release else ''}")
    return 0


#: The shares of the clips that have at most so many frames.
QUANTILES = (0, 0.25, 0.5, 0.75, 1)


def summary(content: dict[str, Any]) -> dict[str, Any]:
    """Shapes, labels and lengths of a good file, by split."""
    import numpy as np

    from mmsa_suparc.data.schema import NUMBERS, SEQUENCES, normalised

    found = {}
    for split, fields in normalised(content).items():
        scores = fields["regression_labels"].reshape(-1)
        rounded, counts = np.unique(np.round(scores) + 0.0, return_counts=True)
        frames = {
            name: fields[f"{name}_lengths"].reshape(-1)
            for name in SEQUENCES
            if f"{name}_lengths" in fields
        }
        found[split] = {
            "fields": {
                name: {"shape": list(fields[name].shape), "type": str(fields[name].dtype)}
                for name in NUMBERS
                if name in fields
            },
            "labels": {
                "clips": len(scores),
                "mean": float(scores.mean()),
                "negative": int((scores < 0).sum()),
                "zero": int((scores == 0).sum()),
                "positive": int((scores > 0).sum()),
                "rounded": {f"{value:g}": int(n) for value, n in zip(rounded, counts, strict=True)},
            },
            "frames": {
                name: {
                    "quantiles": [float(value) for value in np.quantile(lengths, QUANTILES)],
                    "missing": float(np.mean(lengths == 0)),
                }
                for name, lengths in frames.items()
            },
        }
    return found


def summary_tables(found: dict[str, Any]) -> list[Any]:
    """The same as tables."""
    from rich.table import Table

    shapes = Table(title="shapes", title_justify="left")
    labels = Table(title="labels", title_justify="left")
    lengths = Table(title="frames a clip", title_justify="left")
    for table, columns in (
        (shapes, ("split", "field", "shape", "type")),
        (labels, ("split", "clips", "mean", "< 0", "= 0", "> 0", "rounded: clips")),
        (lengths, ("split", "field", *(f"{share:.0%}" for share in QUANTILES), "missing")),
    ):
        for column in columns:
            table.add_column(column, overflow="fold")
    for split, parts in found.items():
        for name, field in parts["fields"].items():
            shapes.add_row(split, name, str(tuple(field["shape"])), field["type"])
        of = parts["labels"]
        labels.add_row(
            split, str(of["clips"]), f"{of['mean']:.3f}",
            *(str(of[sign]) for sign in ("negative", "zero", "positive")),
            ", ".join(f"{value}: {count}" for value, count in of["rounded"].items()),
        )  # fmt: skip
        for name, frames in parts["frames"].items():
            shown = [f"{value:g}" for value in frames["quantiles"]]
            lengths.add_row(split, name, *shown, f"{frames['missing']:.1%}")
    return [shapes, labels, lengths]
