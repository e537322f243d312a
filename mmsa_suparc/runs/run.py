"""A run of several seeds: each trained, kept and recorded as soon as it is done."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from mmsa_suparc.data import reader
from mmsa_suparc.data.store import Record
from mmsa_suparc.errors import DiskError, UserError
from mmsa_suparc.runs import environment, places, servable, toolkit_table, tracking
from mmsa_suparc.runs.folder import SeedFolder
from mmsa_suparc.runs.inputs import known_range
from mmsa_suparc.runs.request import Request, refuse_launcher, validate, validate_inputs
from mmsa_suparc.runs.resuming import refuse_other_run
from mmsa_suparc.runs.seeds import SeedResult, train_seed
from mmsa_suparc.toolkit import patching
from mmsa_suparc.toolkit.calls import logger
from mmsa_suparc.training import processes
from mmsa_suparc.training.checkpoint import save_weights
from mmsa_suparc.training.identity import first_difference, other_ground
from mmsa_suparc.training.runtime import Runtime
from mmsa_suparc.training.state import StateFolder
from mmsa_suparc.training.stop import Stop

Row = dict[str, Any]


def run(
    request: Request,
    *,
    on_seed: Callable[[int], None] = lambda seed: None,
    on_epoch: Callable[[Row], None] = lambda row: None,
    stop: Stop | None = None,
) -> list[Record]:
    """Train every seed and record it as soon as it is done.

    Every place that something will be written to is tried before the first epoch. A seed is
    recorded before its weights are copied to ``request.model_dir`` and before the toolkit's table
    is written: what fails there is made up for with ``request.resume``.

    With ``request.resume``, seeds that are recorded are kept as they are, and one that was
    killed goes on from its last saved epoch (a model of the toolkit starts that seed again: its
    trainer saves no state).

    Under ``torchrun`` or ``accelerate launch`` every process calls this; the main one writes.

    Returns:
        A record a seed, in the order asked for; none in a process that is not the main one.

    Raises:
        SupArcError: what a seed ended with; the seeds before it are kept.
    """
    stop = stop or Stop()
    refuse_launcher(request)
    processes.connect(request.device)
    with processes.ending_together(), reader.reading_once():
        _agree(request)
        if processes.is_main():
            return _lead(request, on_seed, on_epoch, stop)
        _train_along(request, stop)
        return []


def _agree(request: Request) -> None:
    """Every check, in every process; and all of them have been asked for the same, and hold the
    same data and encoder, wherever on their machines these are.

    Raises:
        UserError: in all processes, what any of them found.
    """
    if processes.count() == 1:
        validate(request)
        return

    def checked() -> Row:
        (validate if processes.is_main() else validate_inputs)(request)
        identity = request.identity(request.seeds[0])
        for path in ("featurePath", "pretrained"):
            identity.pop(f"configuration.{path}", None)
        return {**identity, "seeds": list(request.seeds), "precision": _precision(request)}

    first, *others = processes.together(checked)
    for number, other in enumerate(others, start=1):
        key = first_difference(other, first)
        if key is not None:
            raise UserError(
                f"process {number} has {key} = {other.get(key)!r}, process 0 {first.get(key)!r}; "
                "give all the same data, text encoder and options"
            )
        changed = other_ground(other, first)
        if changed and processes.is_main():
            print(f"mmsa: process {number} runs on {changed}", file=sys.stderr)


def _lead(
    request: Request, on_seed: Callable[[int], None], on_epoch: Callable[[Row], None], stop: Stop
) -> list[Record]:
    """The main process: trains with the others, and alone writes."""
    folder = request.folder
    command = request.command or environment.command()
    results: list[Record] = []
    told: set[str] = set()
    with contextlib.ExitStack() as owning:
        with processes.telling():
            places.try_outputs(request.places)
            what = f"process {os.getpid()} on {platform.node()}: {command}"
            owning.enter_context(folder.owned(what))
        for ordinal, seed in enumerate(request.seeds, start=1):
            on_seed(seed)
            with processes.telling():
                record = folder.record_of(seed)
                if record is not None:
                    _keep_recorded(request, record, told)
            if record is None:
                record = _run_seed(request, seed, ordinal, on_epoch, stop)
            results.append(record)
        with processes.telling():
            folder.write_results()
            toolkit_table.append(request, results)
        processes.from_main(None)
    return results


def _keep_recorded(request: Request, record: Record, told: set[str]) -> None:
    """A seed that an earlier start recorded; what that start did not come to is made up for."""
    changed = refuse_other_run(request.run_dir, record, request.identity(record["seed"]))
    if changed and changed not in told:
        told.add(changed)
        print(f"mmsa: {request.run_dir}: seeds that are kept are of {changed}", file=sys.stderr)
    _after_record(request, record)


def _after_record(request: Request, record: Record) -> None:
    """What may fail without a loss: the training's own files go, the weights are copied."""
    folder = request.folder.seed(record["seed"])
    folder.end()
    if request.model_dir is not None:
        config = request.config
        name = f"{config.model}-{config.data_name}-{record['seed']}.pth"
        save_weights(request.model_dir / name, folder.read_weights(record["weights"]))


def _train_along(request: Request, stop: Stop) -> None:
    """A process that is not the main one: computes its part of every batch, writes nothing."""
    while (seed := processes.from_main(-1)) is not None:
        train_seed(
            request.args(ordinal=1, checkpoint=Path(os.devnull)),
            seed=seed,
            prepare=lambda trainer: setattr(trainer, "should_stop", stop.was_asked),
        )


def _run_seed(
    request: Request, seed: int, ordinal: int, on_epoch: Callable[[Row], None], stop: Stop
) -> Record:
    """Train one seed, complete its folder, then record it."""
    folder = request.folder.seed(seed)
    config = request.config
    with processes.telling():
        args = request.args(ordinal=ordinal, checkpoint=folder.checkpoint)
        names = {"model_name": config.model, "dataset_name": config.dataset, "seed": seed}
        identity = request.identity(seed)
        folder.begin({**names, **config.values}, _environment(request, identity))
        states = folder.states(identity, resume=request.resume)
    processes.from_main(seed)
    result = _train(request, args, seed, folder, states, on_epoch, stop)
    with processes.telling():
        record = _keep(request, args, identity, result, folder)
        request.folder.append(record)
        request.folder.write_results()
        _after_record(request, record)
    return record


def _train(
    request: Request,
    args: Any,
    seed: int,
    folder: SeedFolder,
    states: StateFolder,
    on_epoch: Callable[[Row], None],
    stop: Stop,
) -> SeedResult:
    """Train, with every epoch in the seed's history, its log and the tracker."""
    history: list[Row] = []

    def prepare(trainer: Any) -> None:
        if hasattr(trainer, "states"):
            trainer.states = states
        if hasattr(trainer, "should_stop"):
            trainer.should_stop = stop.was_asked

    with (
        _logging_to(folder.log, *_log_file(request)),
        tracking.tracking(request.tracker, folder.path, request.config.values) as track,
    ):

        def record(row: Row) -> None:
            history.append(row)
            folder.write_history(history)
            track(row)
            on_epoch(row)

        return train_seed(
            args, seed=seed, num_workers=request.num_workers, on_epoch=record, prepare=prepare
        )


def _keep(
    request: Request, args: Any, identity: Row, result: SeedResult, folder: SeedFolder
) -> Record:
    """Complete the seed's folder with what it gave; the record of it."""
    config = request.config
    content = request.content()
    scores = known_range(config, content)
    servable.write(request.folder, args, content=content, scores=scores)
    checksum = folder.keep(
        result.weights, identity=identity, predictions=result.predictions,
        metrics=result.metrics, diagnostics=result.diagnostics,
    )  # fmt: skip
    for warning in (result.diagnostics or {}).get("warnings", ()):
        print(f"mmsa: seed {result.seed}: {warning}", file=sys.stderr)
    return {
        "model": config.model,
        "dataset": config.dataset,
        "seed": result.seed,
        "metrics": result.metrics,
        "weights": checksum,
        "parameters": result.parameters,
        "identity": identity,
    }


def _environment(request: Request, identity: Row) -> dict[str, Any]:
    """Versions, device, inputs and command: what one needs to run the same again."""
    return {
        **environment.versions(("MMSA", "torch", "transformers", "numpy", "pandas")),
        "device": str(request.device),
        "device_name": _device_name(request.device),
        "precision": _precision(request),
        "processes": processes.count(),
        "threads": torch.get_num_threads(),
        "feature_file": str(request.config.named_feature_path),
        "feature_file_hash": identity["data"],
        "text_encoder": str(request.config.values["pretrained"]),
        "text_encoder_hash": identity["encoder"],
        "repairs": [patch.name for patch in patching.in_force()],
        "command": request.command or environment.command(),
    }


def _device_name(device: torch.device) -> str:
    """A GPU's own name, else the processor's."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return environment.processor()


def _precision(request: Request) -> str:
    """In which the encoders compute; the toolkit's models know one only."""
    if request.config.model != "suparc":
        return "fp32"
    return Runtime.choose(request.device, request.config.values["precision"]).precision


def _log_file(request: Request) -> list[Path]:
    """The toolkit's own log file, where one was asked for."""
    if request.log_dir is None:
        return []
    return [request.log_dir / f"{request.config.model}-{request.config.dataset}.log"]


@contextlib.contextmanager
def _logging_to(*paths: Path) -> Iterator[None]:
    """What the toolkit's trainers say goes to these files, and nowhere else."""
    level, propagate = logger.level, logger.propagate
    handlers = []
    try:
        for path in paths:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                handler = logging.FileHandler(path, encoding="utf-8")
            except OSError as error:
                raise DiskError(f"cannot write {path}: {error.strerror}") from None
            handler.setFormatter(logging.Formatter("%(asctime)s [%(levelname)s] %(message)s"))
            handlers.append(handler)
            logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
        yield
    finally:
        logger.setLevel(level)
        logger.propagate = propagate
        for handler in handlers:
            logger.removeHandler(handler)
            with contextlib.suppress(OSError):
                handler.close()
