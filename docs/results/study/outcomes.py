"""What the trainings of a benchmark gave, without weights and words, in an archive and back.

``pack OUT FILE`` keeps the plan and every finished cell of a benchmark's folder: predictions, also
with missing modalities, history, metrics, settings. ``unpack FILE... OUT`` puts them back, so that
``mmsa bench report OUT`` needs no training, and ``mmsa bench`` with the same file, code and
libraries trains only what is missing. Paths of the machine are left out: those of ``--data-root``
and ``--text-encoder`` take their place, which a report alone does not need.
"""

from __future__ import annotations

import argparse
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import mmsa_suparc
from mmsa_suparc.bench.folder import CellFolder
from mmsa_suparc.bench.kept_plan import NAME

LEFT_OUT = ("*.lock", "*.log", "*.safetensors", "*.npz", "words.json", "encoder/*")


def pack(out: Path, file: Path, names: dict[str, str], seeds: list[int]) -> int:
    """Write an archive that depends on the cells alone; how many they are."""
    cells = list(_finished(out, seeds))
    with tarfile.open(file, "w:xz", preset=9) as archive:
        # By kind of file: those of all cells side by side have much in common.
        paths = [path for cell in cells for path in cell.path.rglob("*") if path.is_file()]
        for path in [out / NAME, *sorted(paths, key=lambda path: (path.name, path))]:
            below = path.relative_to(out)
            if any(below.match(pattern) for pattern in LEFT_OUT):
                continue
            text = path.read_text(encoding="utf-8")
            for name, where in names.items():
                text = text.replace(where, name)
            content = text.encode()
            info = tarfile.TarInfo(str(below))
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return len(cells)


def _finished(out: Path, seeds: list[int]) -> Iterator[CellFolder]:
    for folder in map(CellFolder, sorted((out / "cells").iterdir())):
        if folder.has_spec():
            spec = folder.read_spec()
            wanted = not seeds or spec["cell"]["seed"] in seeds
            if wanted and folder.is_done(tuple(spec["probes"])):
                yield folder


def unpack(files: list[Path], out: Path, names: dict[str, str]) -> None:
    """Put the cells of archives into a benchmark's folder."""
    for file in files:
        with tarfile.open(file) as archive:
            archive.extractall(out, filter="data")
            for name in archive.getnames():
                path = out / name
                text = path.read_text(encoding="utf-8")
                for placeholder, where in names.items():
                    text = text.replace(placeholder, where)
                path.write_text(text, encoding="utf-8")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("pack", "unpack"))
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    parser.add_argument("--data-root", default="DATA")
    parser.add_argument("--text-encoder", default="ENCODER")
    parser.add_argument("--seed", type=int, action="append", default=[], help="of these alone")
    args = parser.parse_args()
    out = args.paths[0 if args.what == "pack" else -1]
    names = {
        "@ENCODER@": args.text_encoder,
        "@DATA@": args.data_root,
        "@OUT@": str(out.absolute()),
        "@CODE@": str(Path(mmsa_suparc.__file__).parents[1]),
    }
    if args.what == "pack":
        _, file = args.paths
        print(f"{file}: {pack(out, file, names, args.seed)} trainings")
    else:
        unpack(args.paths[:-1], out, names)


if __name__ == "__main__":
    main()
