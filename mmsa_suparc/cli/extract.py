"""Turn a folder of videos into a feature file that any model trains on.

  mmsa extract clips --out clips.pkl          clips/label.csv, clips/Raw/VIDEO/CLIP.mp4
  mmsa extract table.csv --out clips.pkl      columns path, text, score; split and speaker if known
  mmsa -m suparc -d custom --features clips.pkl

Without splits, speakers (or videos) are divided 70/10/20, none of them in two splits. A clip that
cannot be used is listed, with the reason, in clips.pkl.report.csv and stops nobody; what was
extracted is kept in clips.pkl.parts, so the same command goes on. A clip without a face or without
sound lacks that modality: it gets length 0, and the model is told.

Features come from MMSA-FET, in a process of its own (extra 'fet').

Exit status: 0 the file is written, 2 bad input or no clip that can be used.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from mmsa_suparc.cli import values
from mmsa_suparc.cli.options import add_extraction, add_score_range
from mmsa_suparc.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "input", type=values.path, metavar="INPUT", help="a folder with label.csv, or a CSV file"
    )
    parser.add_argument(
        "--out", type=values.path, required=True, metavar="FILE", help="the feature file to write"
    )
    parser.add_argument(
        "--jobs", type=values.jobs, default=1, metavar="N", help="clips at a time; default 1"
    )
    parser.add_argument(
        "--split-seed", type=values.seed, default=0, metavar="N",
        help="of the division into splits, where the table has none; default 0",
    )  # fmt: skip
    parser.add_argument(
        "--parts",
        type=values.path,
        default=None,
        metavar="DIR",
        help="keeps each clip; default OUT.parts",
    )
    add_score_range(parser)
    add_extraction(parser)
    parser.add_argument("-v", "--verbose", type=int, choices=(0, 1, 2), default=1)


def handle(options: argparse.Namespace) -> int:
    from mmsa_suparc.cli.options import end_cleanly, extraction_limits, file_to_write, score_range
    from mmsa_suparc.progress import progress
    from mmsa_suparc.videos import clip_table, extraction, recipe

    out = file_to_write(options.out)
    source = Path(options.input).expanduser()
    if out.exists() and source.exists() and out.samefile(source):
        raise UserError(f"--out {out}: is the input; expected another file to write")
    end_cleanly()
    limits = extraction_limits(options)
    chosen = recipe.load(options.recipe)
    allowed = score_range(options)
    table = clip_table.read(source, score_range=allowed)
    report = Path(f"{out}.report.csv")
    for where, reason in table.faults:
        print(f"skipped: {where}: {reason}", file=sys.stderr)
    extraction.write_report(report, [(where, "skipped", why) for where, why in table.faults])
    splits = clip_table.with_splits(table.rows, seed=options.split_seed) if table.rows else []
    bar = progress(None, "clips", len(table.rows))

    def tell(row: Any, word: str) -> None:
        bar.update()
        if word not in ("done", "kept"):
            bar.write(f"skipped: {row.id}: {word}")

    try:
        found = extraction.extract_all(
            table.rows, chosen, Path(options.parts or f"{out}.parts").expanduser(),
            jobs=options.jobs, python=options.fet_python, limits=limits, on_clip=tell,
        )  # fmt: skip
    finally:
        bar.close()
    extraction.write_report(report, _report(table, found))
    if not found.features:
        raise UserError(f"{options.input}: no clip that can be used; the reasons are in {report}")
    content = extraction.feature_file(
        table.rows, splits, found.features, chosen, score_range=allowed
    )
    extraction.write_feature_file(out, content)
    _summary(out, report, content, len(table.faults) + len(found.faults), chosen)
    return 0


def _report(table: Any, found: Any) -> list[tuple[str, str, str]]:
    from mmsa_suparc.data.text import TOKENS, surely_cut

    rows = [(where, "skipped", reason) for where, reason in table.faults]
    rows += [(clip, "skipped", reason) for clip, reason in found.faults]
    for row in table.rows:
        if row.id in found.features:
            notes = list(found.features[row.id].notes)
            if not row.text:
                notes.append("text missing: no words in the table")
            elif surely_cut(row.text):
                notes.append(f"text: more words than {TOKENS} tokens hold; later ones are cut")
            rows.append((row.id, "done", "; ".join(notes)))
    return rows


def _summary(out: Path, report: Path, content: Any, skipped: int, recipe: Any) -> None:
    """Counts, by split, of clips and of what they lack."""
    from mmsa_suparc.data.text import TOKENS, surely_cut

    for split, fields in content.items():
        lacking = {
            "text": sum(not text for text in fields["raw_text"]),
            "audio": int((fields["audio_lengths"] == 0).sum()),
            "vision": int((fields["vision_lengths"] == 0).sum()),
        }
        missing = ", ".join(f"{count} without {name}" for name, count in lacking.items() if count)
        print(f"{split}: {len(fields['id'])} clips{'; ' + missing if missing else ''}")
    cut = {
        name: sum(
            int((fields[f"{name}_lengths"] == getattr(recipe.frames, name)).sum())
            for fields in content.values()
        )
        for name in ("audio", "vision")
    }
    long = sum(surely_cut(text) for fields in content.values() for text in fields["raw_text"])
    if long:
        print(f"{long} clips have more words than {TOKENS} tokens hold; later ones are cut")
    for name, count in cut.items():
        if count:
            most = getattr(recipe.frames, name)
            print(f"{count} clips have {most} frames of {name} or more; later ones are cut")
    print(f"{skipped} skipped; the reasons, and what each clip lacks: {report}")
    print(f"features: {out}")
