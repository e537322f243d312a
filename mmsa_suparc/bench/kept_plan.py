"""A benchmark's plan as its folder keeps it, so that its report can be made of the folder alone.

``DIR/benchmark.json`` is written before the first training. Folders of before have none; once such
a benchmark has ended, its results and its cells say the same.
"""

from __future__ import annotations

import csv
import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mmsa_suparc.bench.folder import CellFolder
from mmsa_suparc.bench.plan import Cell, Plan
from mmsa_suparc.config import first_of
from mmsa_suparc.data.files import write_text
from mmsa_suparc.errors import UserError
from mmsa_suparc.plain_files import read_mapping

#: The file, and bytes that it may have: 10,000 cells with some thousand bytes of values each.
NAME, LARGEST = "benchmark.json", 64 << 20
#: Of a cell's folder; a name that is something else leads out of the benchmark's.
ADDRESS = re.compile(r"[\w-]+")


@dataclass(frozen=True)
class KeptPlan:
    """What a report is of.

    Args:
        plan: with all of the file's variants, as far as they could be planned.
        folders: of its cells, in their order: names below ``cells/``.
        asked: the variants that were asked for; of others what is finished counts.
        command: that trains them.
    """

    plan: Plan
    folders: tuple[str, ...]
    asked: tuple[str, ...]
    command: str

    def write(self, out: Path) -> None:
        """Keep it in the benchmark's folder."""
        write_text(out / NAME, json.dumps(asdict(self), default=str) + "\n")

    def reported(self, out: Path) -> tuple[Plan, list[CellFolder]]:
        """The cells that were asked for and those of other variants that are done by now, in the
        file's order, with their folders."""
        kept = [
            (cell, folder)
            for cell, name in zip(self.plan.cells, self.folders, strict=True)
            if (folder := CellFolder(out / "cells" / name))
            and (cell.variant in self.asked or folder.is_done(self.plan.probes))
        ]
        cells = tuple(cell for cell, _ in kept)
        reference = self.plan.reference
        if reference not in {cell.variant for cell in cells}:
            reference = self.asked[0]
        plan = replace(self.plan, cells=cells, reference=reference)
        return plan, [folder for _, folder in kept]


def read(out: Path) -> KeptPlan:
    """What a benchmark's folder keeps.

    Raises:
        UserError: it is none, or says too little.
    """
    if (out / NAME).is_file():
        content = read_mapping(out / NAME, largest=LARGEST)
    elif (out / "results.csv").is_file() and (out / "summary.json").is_file():
        content = _of_results(out)
    elif (out / "cells").is_dir():
        raise UserError(
            f"{out}: has neither {NAME} nor a report, from which one could be made; run the "
            "benchmark's command again"
        )
    else:
        what = "no benchmark's folder; expected the --out of mmsa bench"
        raise UserError(f"{out}: {what if out.is_dir() else 'no such folder'}")
    try:
        kept = TypeAdapter(KeptPlan).validate_python(content)
    except ValidationError as error:
        raise UserError(f"{out / NAME}: {first_of(error)}") from None
    if len(kept.folders) != len(kept.plan.cells) or not kept.folders or not kept.asked:
        raise UserError(f"{out / NAME}: expected cells, a folder for each, and variants asked for")
    for name in kept.folders:
        if not ADDRESS.fullmatch(name):
            raise UserError(f"{out / NAME}: folders: {name!r} is no cell's folder")
    return kept


def read_begun(out: Path) -> KeptPlan:
    """The same of a folder of which there is something to report.

    Raises:
        UserError: as :func:`read`; or none of its trainings has ended.
    """
    kept = read(out)
    plan, folders = kept.reported(out)
    if not any(folder.is_done(plan.probes) or folder.failure() for folder in folders):
        raise UserError(
            f"{out}: none of its {len(folders)} trainings is finished; run the benchmark first"
        )
    return kept


def _of_results(out: Path) -> dict[str, Any]:
    """The same of a folder of before, by its last report: rows in the order of the plan, and what
    each of their cells was told."""
    summary = read_mapping(out / "summary.json", largest=LARGEST)
    with (out / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = {
            tuple(row.get(key) for key in ("variant", "dataset", "seed", "fold", "cell")): row
            for row in csv.DictReader(file)
        }
    cells, folders, probes = [], [], []
    for row in rows.values():
        folder = CellFolder(out / "cells" / row["cell"])
        if not folder.has_spec():
            raise UserError(f"{out}: results.csv names the cell {folder.name}, which is not here")
        spec = folder.read_spec()
        # Variants that share a training have one folder, which was told of the last of them.
        cells.append(asdict(replace(Cell(**spec["cell"]), variant=row["variant"])))
        folders.append(folder.name)
        probes = spec["probes"]
    plan = {
        "title": summary.get("title", ""), "reference": summary.get("reference", ""),
        "cells": cells, "probes": probes, "folds": summary.get("folds"),
        "pool": summary.get("pool", ()),
    }  # fmt: skip
    asked = dict.fromkeys(cell["variant"] for cell in cells)
    command = f"mmsa bench report {out}"  # that of the trainings was not kept
    return {"plan": plan, "folders": folders, "asked": list(asked), "command": command}
