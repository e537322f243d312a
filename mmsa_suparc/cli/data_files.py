"""``mmsa data card`` describes a feature file, ``mmsa data convert`` makes one of other files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mmsa_suparc.cli import values
from mmsa_suparc.cli.options import add_score_range, score_range


def add_card(actions: Any) -> argparse.ArgumentParser:
    card: argparse.ArgumentParser = actions.add_parser(
        "card", help="describe a feature file: Markdown and a picture"
    )
    card.add_argument("file", type=values.path, metavar="FILE", help="feature file")
    card.add_argument(
        "--out", type=values.path, default=None, metavar="FILE",
        help="the page; its picture lies beside it; default FILE.card.md",
    )  # fmt: skip
    return card


def make_card(options: argparse.Namespace) -> int:
    import io

    from mmsa_suparc.data import card as cards
    from mmsa_suparc.data.files import write_atomically, write_text
    from mmsa_suparc.errors import UserError

    file = Path(options.file).expanduser()
    out = Path(options.out or f"{options.file}.card.md").expanduser()
    if out.is_dir() or out.suffix.lower() == ".svg":
        raise UserError(f"--out {out}: expected a file for the page, NAME.md")
    if out.exists() and file.exists() and out.samefile(file):
        raise UserError(f"--out {out}: is the feature file; expected another file to write")
    made = cards.make_card(file)
    picture = out.with_suffix(".svg")
    drawn = io.BytesIO()
    cards.draw(made).savefig(drawn, format="svg", metadata={"Date": None})
    write_atomically(picture, lambda target: target.write(drawn.getvalue()))
    write_text(out, cards.markdown(made, picture.name))
    for leak in made.leaks:
        if leak.count:
            print(f"{leak.one} and {leak.other} share {leak.count} {leak.what}")
    print(f"data card: {out} (picture: {picture})")
    return 0


def add_convert(actions: Any) -> argparse.ArgumentParser:
    convert: argparse.ArgumentParser = actions.add_parser(
        "convert",
        help="make a feature file of arrays beside a table, a Hugging Face data set, or "
        "dictionaries of the CMU Multimodal SDK",
    )
    convert.add_argument(
        "source", type=values.path, metavar="SOURCE",
        help="a folder with label.csv and .npy or .npz files; a folder of save_to_disk; a pickle",
    )  # fmt: skip
    convert.add_argument(
        "--out", type=values.path, required=True, metavar="FILE", help="the feature file to write"
    )
    convert.add_argument(
        "--aligned", action="store_true",
        help="frames of words are put beside the tokens of --text-encoder (dictionaries only)",
    )  # fmt: skip
    convert.add_argument(
        "--text-encoder", default=None, metavar="NAME_OR_PATH", help="with --aligned: whose tokens"
    )
    convert.add_argument(
        "--most-frames", type=values.whole(1, 10_000), default=500, metavar="N",
        help="later frames of a clip are cut; default 500",
    )  # fmt: skip
    convert.add_argument(
        "--split-seed", type=values.seed, default=0, metavar="N",
        help="of the division into splits, by video, where the source has none; default 0",
    )  # fmt: skip
    add_score_range(convert)
    return convert


def convert(options: argparse.Namespace) -> int:
    from mmsa_suparc.data import safe_pickle, schema
    from mmsa_suparc.data.convert import clips as made
    from mmsa_suparc.data.files import write_atomically
    from mmsa_suparc.data.text import find_encoder
    from mmsa_suparc.errors import UserError

    source, out = Path(options.source).expanduser(), Path(options.out).expanduser()
    allowed = score_range(options)
    if out.is_dir() or (out.exists() and source.exists() and out.samefile(source)):
        raise UserError(f"--out {out}: expected another file to write")
    if options.aligned != (options.text_encoder is not None):
        raise UserError(
            "--aligned and --text-encoder go together: whose tokens stand beside frames"
        )
    found = _clips(source, options.aligned)
    splits = _splits(found, options.split_seed)
    if options.aligned:
        content = made.aligned_file(found, splits, find_encoder(options.text_encoder))
    else:
        content = made.feature_file(found, splits, most_frames=options.most_frames)
    rules = schema.Rules(score_range=allowed, lengths=not options.aligned)
    faults = schema.check(content, rules)
    if faults:
        advice = "mend the source; nothing was written"
        raise schema.FaultsError(source, faults, advice=advice)
    write_atomically(out, lambda file: safe_pickle.dump(content, file))
    for split, fields in content.items():
        lacking = {name: fields.get(f"{name}_lengths", [1]) for name in ("audio", "vision")}
        missing = {name: sum(int(n == 0) for n in some) for name, some in lacking.items()}
        notes = "".join(f"; {count} without {name}" for name, count in missing.items() if count)
        print(f"{split}: {len(fields['id'])} clips{notes}")
    print(f"features: {out}; no fault found")
    return 0


def _clips(source: Path, aligned: bool) -> Any:
    from mmsa_suparc.data.convert import dictionaries, folders, hugging_face
    from mmsa_suparc.errors import UserError

    if (source / hugging_face.MARK).is_file():
        return hugging_face.read(source)
    if (source / folders.TABLE).is_file() or source.suffix.lower() == ".csv":
        return folders.read(source)
    if source.is_file():
        return dictionaries.read(source, by_word=aligned)
    raise UserError(
        f"{source}: expected a folder with {folders.TABLE}, one that save_to_disk wrote "
        f"({hugging_face.MARK}), or a pickle of dictionaries"
    )


def _splits(clips: Any, seed: int) -> list[str]:
    """Each clip's split: the source's, or one by its video."""
    from mmsa_suparc.data.groups import BETWEEN
    from mmsa_suparc.videos.clip_table import Row, with_splits

    rows = [
        Row(clip.id, Path(), clip.text, clip.score, clip.split,
            clip.id.rpartition(BETWEEN)[0] or clip.id)
        for clip in clips
    ]  # fmt: skip
    return with_splits(rows, seed=seed)
