"""``mmsa data card`` describes a feature file, ``mmsa data convert`` makes one of other files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mmsa_suparc.cli import values


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
