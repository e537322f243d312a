"""What a run of the toolkit leaves behind: checkpoints, the results table, log handlers."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pandas
import torch

from mmsa_suparc.data.tables import append_rows
from mmsa_suparc.toolkit.context import last_metrics
from mmsa_suparc.toolkit.modules import module, trainer_modules
from mmsa_suparc.toolkit.patching import Overlay, Patch, original, patch, replace
from mmsa_suparc.training.checkpoint import save_torch

#: (args, num_workers, is_tune) -> the seed's metrics.
RunSeed = Callable[[Any, int, bool], dict[str, float]]


def one_seed(run_seed: RunSeed) -> Patch:
    """The patch that has ``MMSA_run`` call a function of ours for each seed."""

    @patch(
        "one-seed",
        does="a seed has a checkpoint of its own, never another run's weights; one that never "
        "improves or gives NaN ends with an error",
        answers="run.py:135,193,242-290",
    )
    def in_place(undo: contextlib.ExitStack) -> None:
        replace(undo, module("run"), "_run", run_seed)

    return in_place


@patch(
    "whole-checkpoints",
    does="a checkpoint is written beside the old one and renamed",
    answers="torch.save in every trainer, e.g. trains/singleTask/LF_DNN.py:83",
)
def whole_checkpoints(undo: contextlib.ExitStack) -> None:
    def save(content: Any, path: Any, **options: Any) -> None:
        save_torch(Path(path), content, **options)

    for trainer in trainer_modules():
        if vars(trainer).get("torch") is torch:
            replace(undo, trainer, "torch", Overlay(torch, save=save))


@patch(
    "results-table",
    does="cells of the results table are plain numbers, rows are appended under a lock, "
    "and a model with other metrics adds columns",
    answers="run.py:223-239",
)
def results_table(undo: contextlib.ExitStack) -> None:
    class Appending(pandas.DataFrame):
        """Writing it appends the rows that were not read from the file."""

        def to_csv(self, path: Any, *args: Any, **options: Any) -> None:  # type: ignore[override]
            append_rows(Path(path), pandas.DataFrame(self).iloc[self.attrs.get("read", 0) :])

    def read_csv(path: Any) -> Appending:
        rows = pandas.read_csv(path)
        if Path(path).parent.name == "normal":  # shared by all models, whatever they measure
            rows = rows.reindex(columns=["Model", *last_metrics.get()])
        table = Appending(rows)
        table.attrs["read"] = len(rows)
        return table

    run = module("run")
    replace(undo, run, "pd", Overlay(pandas, DataFrame=Appending, read_csv=read_csv))
    plain = {name: _plain(getattr(numpy, name)) for name in ("mean", "std")}
    replace(undo, run, "np", Overlay(numpy, **plain))


def _plain(function: Callable[..., Any]) -> Callable[..., float]:
    return lambda values: float(function(values))


@patch(
    "log-handlers",
    does="a run replaces the log handlers of the one before",
    answers="run.py:35-57",
)
def log_handlers(undo: contextlib.ExitStack) -> None:
    run = module("run")
    original_set_logger = original(run, "_set_logger")
    logger = logging.getLogger("MMSA")

    def set_logger(*args: Any, **options: Any) -> logging.Logger:
        drop()
        before = list(logger.handlers)
        result: logging.Logger = original_set_logger(*args, **options)
        ours.extend(handler for handler in logger.handlers if handler not in before)
        return result

    ours: list[logging.Handler] = []

    def drop() -> None:
        while ours:
            handler = ours.pop()
            logger.removeHandler(handler)
            handler.close()

    replace(undo, run, "_set_logger", set_logger)
    undo.callback(drop)
