"""``mmsa_suparc.run``: what ``mmsa run`` does, with data frames at its end."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmsa_suparc import plugin
from mmsa_suparc.api.live import Live
from mmsa_suparc.api.run_result import RunResult, load_run
from mmsa_suparc.config import Layer
from mmsa_suparc.errors import StoppedError, UserError
from mmsa_suparc.names import LARGEST_SEED
from mmsa_suparc.runs import run as runs
from mmsa_suparc.runs.request import Request
from mmsa_suparc.toolkit import settings
from mmsa_suparc.training import processes
from mmsa_suparc.training.runtime import find_device
from mmsa_suparc.training.stop import Stop, stopped

#: The toolkit's.
SEEDS = (1111, 1112, 1113, 1114, 1115)


def run(
    model: str = "suparc",
    dataset: str = "mosi",
    *,
    seeds: Sequence[int] = SEEDS,
    data_root: str | Path | None = None,
    features: str | Path | None = None,
    text_encoder: str | Path | None = None,
    epochs: int | None = None,
    config: str | Path | None = None,
    set: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    device: str | None = None,
    allow_leak: bool = False,
    allow_label_range: bool = False,
    progress: bool = True,
) -> RunResult:
    """Train and test a model, seed by seed, as ``mmsa run`` does.

    Args:
        model: ``suparc``, one of the toolkit's, or a plugin's; see ``mmsa models``.
        dataset: ``mosi``, ``mosei``, ``sims`` …; ``demo`` needs no files; ``custom`` takes
            ``features``.
        seeds: a training each.
        data_root: the folder that holds ``MOSI/Processed/…``; default ``MMSA_DATA_ROOT``.
        features: a feature file instead of the data set's own.
        text_encoder: a Hugging Face encoder by name or folder.
        epochs: at most so many.
        config: a YAML file, or the toolkit's JSON, merged over the defaults.
        set: values above the file: ``{"threshold": 0.7}``.
        out: the run folder; default ``runs/MODEL-DATASET-TIME``. Nothing is written elsewhere:
            the toolkit's table is in its ``toolkit/``.
        resume: keep the seeds that are finished in ``out``, and go on with a stopped one.
        device: ``cpu``, ``cuda``, ``cuda:N``; default CUDA where there is one.
        allow_leak: clips may be in two splits.
        allow_label_range: scores may be beyond the data set's range.
        progress: show a bar, and in a notebook the curve.

    Returns:
        All finished seeds of ``out``.

    Raises:
        UserError: bad input; nothing was written.
        DivergedError: a loss that is not finite.
        StoppedError: Ctrl-C, or a notebook's stop; ``resume=True`` goes on.
    """
    if processes.count() > 1:
        raise UserError(
            f"mmsa_suparc.run trains in one process, {processes.count()} were launched; use "
            "torchrun … -m mmsa_suparc, then mmsa_suparc.load_run"
        )
    seeds = _checked(seeds)
    with plugin.registered():
        flags = {"featurePath": features and str(Path(features).expanduser().resolve()),
                 "pretrained": text_encoder and str(text_encoder), "epochs": epochs}  # fmt: skip
        chosen = settings.load(
            settings.find_model(model),
            settings.find_dataset(dataset),
            config_file=config,
            overrides=[
                Layer("set", dict(set or {})),
                Layer("run()", {key: value for key, value in flags.items() if value is not None}),
            ],
            data_root=None if data_root is None else str(data_root),
        )
        default = f"runs/{chosen.model}-{chosen.data_name}-{time.strftime('%Y%m%d-%H%M%S')}"
        folder = Path(out or default).expanduser().absolute()
        request = Request(
            config=chosen, seeds=seeds, run_dir=folder, device=find_device(device),
            result_dir=folder / "toolkit", resume=resume, allow_leak=allow_leak,
            allow_label_range=allow_label_range,
            command=f"mmsa_suparc.run({model!r}, {dataset!r}, seeds={list(seeds)}, …)",
        )  # fmt: skip
        _train(request, progress)
    return load_run(folder)


def _train(request: Request, progress: bool) -> None:
    config, stop = request.config, Stop()
    live = Live(
        f"{config.model} on {config.data_name}", seeds=len(request.seeds),
        epochs=config.values.get("epochs"), shown=progress,
    )  # fmt: skip
    try:
        with stop.listening(), live:
            runs.run(request, on_seed=live.on_seed, on_epoch=live.on_epoch, stop=stop)
    except StoppedError as error:
        raise stopped(
            f"{error}; to go on: out={str(request.run_dir)!r}, resume=True", stop.signal or 2
        ) from None


def _checked(seeds: Sequence[int]) -> tuple[int, ...]:
    found = tuple(seeds)
    for seed in found:
        if type(seed) is not int or not 0 <= seed <= LARGEST_SEED:
            raise UserError(f"seeds: {seed!r}; expected whole numbers from 0 to {LARGEST_SEED}")
    if not found or len(set(found)) < len(found):
        raise UserError(f"seeds: {list(found)}; expected one at least, each once")
    return found
