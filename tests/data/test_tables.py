"""Tables that several processes append to."""

from __future__ import annotations

import os
from multiprocessing import get_context
from pathlib import Path

import pandas as pd

from mmsa_suparc.data.tables import append_rows, plain_cell
from tests.helpers.patience import patience


def test_cells_are_never_formulas_and_names_stay() -> None:
    for name in ("-3g5yACwYnA$_$1", "video_1$_$02", "a=b", "0012", "--x", "名"):
        assert plain_cell(name) == name
    for formula in ("=1+1", "+1", "@sum", "-1+cmd|' /C calc'!A0", "\t=1", "-2+3"):
        assert plain_cell(formula) == "'" + formula


def append_many(path: str, worker: int) -> None:
    for row in range(10):
        append_rows(Path(path), pd.DataFrame([{"worker": worker, "row": row, f"w{worker}": 1}]))


def test_eight_processes_append_without_loss(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    context = get_context("spawn")
    workers = [context.Process(target=append_many, args=(str(path), n)) for n in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=patience(120))
    table = pd.read_csv(path)
    assert len(table) == 80
    assert len(table.drop_duplicates(["worker", "row"])) == 80
    assert os.listdir(tmp_path).count("table.csv") == 1
