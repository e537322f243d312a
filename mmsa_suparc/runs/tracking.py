"""Epochs to TensorBoard or Weights & Biases, through accelerate's trackers."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mmsa_suparc.errors import UserError

#: The packages of which accelerate takes either; the last one is advised.
TRACKERS = {"tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",)}


def require_installed(name: str | None) -> None:
    """Refuse a tracker whose package is not installed; loads none of them, nor accelerate.

    Raises:
        UserError: names the package.
    """
    if name is None:
        return
    if not any(importlib.util.find_spec(package) for package in TRACKERS[name]):
        raise UserError(f"--tracker {name}: not installed; pip install {TRACKERS[name][-1]}")


@contextlib.contextmanager
def tracking(
    name: str | None, folder: Path, values: Mapping[str, Any]
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Within this block the function given logs the numbers of an epoch's row.

    Args:
        name: ``tensorboard``, ``wandb`` (offline unless ``WANDB_MODE`` says otherwise) or None.
        folder: where the tracker writes.
        values: the configuration.
    """
    if name is None:
        yield lambda row: None
        return
    from accelerate import PartialState
    from accelerate.tracking import TensorBoardTracker, WandBTracker

    PartialState()
    if name == "tensorboard":
        tracker: Any = TensorBoardTracker("tensorboard", logging_dir=folder)
    else:
        os.environ.setdefault("WANDB_MODE", "offline")
        tracker = WandBTracker("mmsa-suparc", dir=str(folder))
    if hasattr(tracker, "start"):  # newer versions of accelerate start on demand
        tracker.start()
    plain = {k: v for k, v in values.items() if isinstance(v, (bool, int, float, str))}
    tracker.store_init_configuration(plain)
    try:
        yield lambda row: tracker.log(
            {k: v for k, v in row.items() if isinstance(v, (int, float))}, step=int(row["epoch"])
        )
    finally:
        tracker.finish()
