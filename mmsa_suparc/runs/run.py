"""A run of several seeds, and the folder that it leaves behind."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml

from mmsa_suparc.data import reader, schema, store
from mmsa_suparc.data.cache import code_fingerprint, fingerprint
from mmsa_suparc.data.files import write_text
from mmsa_suparc.data.store import Record
from mmsa_suparc.data.tables import append_rows
from mmsa_suparc.data.text import find_encoder
from mmsa_suparc.errors import DiskError, UserError
from mmsa_suparc.names import SPLITS
from mmsa_suparc.runs import servable, tracking
from mmsa_suparc.runs.seeds import find_feature_file, train_seed
from mmsa_suparc.toolkit import catalogue, modules, patching, registry
from mmsa_suparc.toolkit.settings import ModelConfig, args_for, treated_as
from mmsa_suparc.training import processes
from mmsa_suparc.training.checkpoint import save_weights
from mmsa_suparc.training.state import StateFolder, sha256
from mmsa_suparc.training.stop import Stop
from mmsa_suparc.version import __version__

logger = logging.getLogger("MMSA")

Row = dict[str, Any]
RECORDS = "records.jsonl"


@dataclass(frozen=True)
class Request:
    """A run as the user asked for it."""

    config: ModelConfig
    seeds: Sequence[int]
    run_dir: Path
    device: torch.device
    result_dir: Path  # the toolkit's res_save_dir
    model_dir: Path | None = None
    log_dir: Path | None = None
    num_workers: int = 0
    feature_files: Mapping[str, str] = field(default_factory=dict)  # "feature_T" -> path …
    resume: bool = False
    allow_leak: bool = False
    allow_label_range: bool = False
    tracker: str | None = None
    command: str = ""


def check(request: Request) -> None:
    """Everything that can be wrong before a file is written.

    Raises:
        UserError: one line.
    """
    config = request.config
    catalogue.require_runnable(config.model, config.dataset)
    tracking.require_installed(request.tracker)
    path = config.feature_path
    find_feature_file(path)
    for flag, name in request.feature_files.items():
        if not Path(name).is_file():
            raise UserError(f"-F{flag[-1].lower()} {name}: no such file")
    content = _content(request)
    _encoder(config)
    known = servable.known_range(config, content)
    rules = schema.Rules(
        score_range=None if request.allow_label_range else known,
        lengths=not config.values["need_data_aligned"],
        unimodal="sims" in treated_as(config.dataset),
        allow_leak=request.allow_leak,
    )
    faults = schema.check(content, rules)
    if faults:
        raise schema.FaultsError(path, faults)
    _check_run_folder(request)


def _content(request: Request) -> reader.FeatureFile:
    """The feature file, with modalities of other files where ``-Ft -Fa -Fv`` ask for them; those
    are features of another making, so the file's own recipe no longer holds."""
    content = reader.read(request.config.feature_path)
    for flag, name in request.feature_files.items():
        content = _with_modality(content, reader.read(name), flag[-1])
        if flag[-1] in "AV":
            content = {
                split: {k: v for k, v in fields.items() if k != "recipe"}
                for split, fields in content.items()
            }
    return content


def _encoder(config: ModelConfig) -> str:
    """The run's text encoder, found; only its name where the run does without one.

    A model that reads ``text`` features needs no encoder for a file that has them, unless the
    user named one.
    """
    name = str(config.values["pretrained"])
    content = reader.read(config.feature_path)
    has_text = all("text" in content[split] for split in SPLITS)
    if has_text and not config.values["use_bert"] and "pretrained" not in config.chosen:
        return name
    return find_encoder(name)


def _with_modality(
    content: reader.FeatureFile, other: reader.FeatureFile, letter: str
) -> reader.FeatureFile:
    """The content with one modality's fields from another file, as ``-Ft -Fa -Fv`` ask."""
    fields = {
        "T": ("text", "text_bert"),
        "A": ("audio", "audio_lengths"),
        "V": ("vision", "vision_lengths"),
    }[letter]
    return {
        split: {**content[split], **{k: v for k, v in other[split].items() if k in fields}}
        for split in SPLITS
    }


def _check_run_folder(request: Request) -> None:
    folder = request.run_dir
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--run-dir {folder}: is a file; expected a folder")
    for record in store.read(folder / RECORDS):
        for key, ours in (("model", request.config.model), ("dataset", request.config.dataset)):
            if record[key] != ours:
                raise UserError(
                    f"--run-dir {folder}: holds results of {record['model']} on "
                    f"{record['dataset']}; choose another folder"
                )
        if record["seed"] in request.seeds and not request.resume:
            raise UserError(
                f"--run-dir {folder}: already holds seed {record['seed']}; choose another folder "
                "or seed, or keep it with --resume"
            )


def run(
    request: Request,
    *,
    on_seed: Callable[[int], None] = lambda seed: None,
    on_epoch: Callable[[Row], None] = lambda row: None,
    stop: Stop | None = None,
) -> list[Record]:
    """Train every seed and record it as soon as it is done.

    With ``request.resume``, seeds that are recorded are kept as they are, and one that was
    killed goes on from its last epoch (a model of the toolkit starts that seed again: its
    trainer saves no state).

    Under ``torchrun`` or ``accelerate launch`` every process calls this; the main one writes.

    Returns:
        A record a seed, in the order asked for; none in a process that is not the main one.

    Raises:
        SupArcError: what a seed ended with; the seeds before it are kept.
    """
    stop = stop or Stop()
    _check_launch(request)
    processes.connect(request.device)
    if not processes.is_main():
        _train_along(request, stop)
        return []
    path = request.run_dir / RECORDS
    who = f"process {os.getpid()} on {platform.node()}: {request.command or ' '.join(sys.argv)}"
    with contextlib.ExitStack() as held:
        held.enter_context(reader.reading_once())
        check(request)
        held.enter_context(store.owned(request.run_dir, who))
        for place, seed in enumerate(request.seeds, start=1):
            on_seed(seed)
            done = {record["seed"]: record for record in store.read(path)}
            if seed in done:
                _refuse_other_run(request, done[seed])
                continue
            processes.from_main(seed)
            store.append(path, _run_seed(request, seed, place, on_epoch, stop))
            StateFolder(request.run_dir / f"seed-{seed}", {}).clear()
            _write_results(request.run_dir)
        processes.from_main(None)
        _write_results(request.run_dir)
        records = {record["seed"]: record for record in store.read(path)}
    results = [records[seed] for seed in request.seeds]
    _append_toolkit_table(request, results)
    return results


def _check_launch(request: Request) -> None:
    """Only trainers that say so share a model between processes."""
    model = request.config.model
    if processes.count() > 1 and not registry.trainer_offers(model, "shares_batches"):
        raise UserError(
            f"-m {model}: its trainer knows one process, and {processes.count()} were launched; "
            "start it without torchrun or accelerate launch"
        )


def _train_along(request: Request, stop: Stop) -> None:
    """A process that is not the main one: computes its part of every batch, writes nothing."""
    with reader.reading_once():
        while (seed := processes.from_main(-1)) is not None:
            train_seed(
                _args(request, place=1, checkpoint=Path(os.devnull)),
                seed=seed,
                prepare=lambda trainer: setattr(trainer, "should_stop", stop.was_asked),
            )


def _args(request: Request, *, place: int, checkpoint: Path) -> Any:
    """The toolkit's ``args`` of a seed, the ``place``-th one."""
    args = args_for(request.config)
    args.update(
        device=request.device,
        train_mode="regression",
        custom_feature=None,
        cur_seed=place,
        pretrained=_encoder(request.config),
        model_save_path=checkpoint,
        **{f"feature_{m}": request.feature_files.get(f"feature_{m}", "") for m in "TAV"},
    )
    return args


def _identity(request: Request, seed: int) -> dict[str, Any]:
    """What a saved state or result is of."""
    config = request.config
    return {
        "model": config.model,
        "dataset": config.dataset,
        "seed": seed,
        "data": fingerprint(config.feature_path),
        **{f"configuration.{key}": value for key, value in config.values.items()},
    }


def _refuse_other_run(request: Request, record: Record) -> None:
    wanted = json.loads(json.dumps(_identity(request, record["seed"]), default=str))
    for key in {**wanted, **record["identity"]}:
        found = record["identity"].get(key)
        if found != wanted.get(key):
            raise UserError(
                f"--run-dir {request.run_dir}: seed {record['seed']} was run with {key} = "
                f"{found!r}, this run has {wanted.get(key)!r}; use the same configuration or "
                "another folder"
            )


def _run_seed(
    request: Request, seed: int, place: int, on_epoch: Callable[[Row], None], stop: Stop
) -> Record:
    folder = request.run_dir / f"seed-{seed}"
    config = request.config
    identity = _identity(request, seed)
    args = _args(request, place=place, checkpoint=folder / "checkpoint.pth")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        args["model_save_path"].unlink(missing_ok=True)
    except OSError as error:
        raise DiskError(f"cannot write {folder}: {error.strerror}") from None
    states = StateFolder(folder, identity, resume=request.resume)
    names = {"model_name": config.model, "dataset_name": config.dataset, "seed": seed}
    write_text(folder / "config.yaml", _yaml({**names, **config.values}))
    write_text(folder / "environment.json", _json(environment(request)))
    history: list[Row] = []

    def record(row: Row) -> None:
        history.append(row)
        write_text(folder / "history.csv", pd.DataFrame(history).to_csv(index=False))
        track(row)
        on_epoch(row)

    def prepare(trainer: Any) -> None:
        if hasattr(trainer, "states"):
            trainer.states = states
        if hasattr(trainer, "should_stop"):
            trainer.should_stop = stop.was_asked

    with (
        _logging_to(folder / "run.log", *_log_file(request)),
        tracking.tracking(request.tracker, folder, config.values) as track,
    ):
        result = train_seed(
            args, seed=seed, num_workers=request.num_workers, on_epoch=record, prepare=prepare
        )

    if config.model == "suparc":
        content = _content(request)
        scores = servable.known_range(config, content)
        servable.write(request.run_dir, args, content=content, scores=scores)
    weights = folder / "model.safetensors"
    save_weights(weights, result.weights)
    sidecar = {
        "sha256": sha256(weights),
        "identity": identity,
        "code": code_fingerprint(),
        "shapes": {name: list(tensor.shape) for name, tensor in result.weights.items()},
    }
    write_text(folder / "model.json", _json(sidecar))
    if request.model_dir is not None:
        name = f"{config.model}-{config.data_name}-{seed}.pth"
        save_weights(request.model_dir / name, result.weights)
    write_text(folder / "predictions.csv", result.predictions.to_csv(index=False))
    write_text(folder / "metrics.json", _json(result.metrics))
    args["model_save_path"].unlink()
    return {
        "model": config.model,
        "dataset": config.dataset,
        "seed": seed,
        "metrics": result.metrics,
        "weights": sidecar["sha256"],
        "identity": identity,
    }


def _write_results(folder: Path) -> None:
    """``results.csv``, a view of the records."""
    rows = [
        {**{key: record[key] for key in ("model", "dataset", "seed")}, **record["metrics"]["test"]}
        for record in store.read(folder / RECORDS)
    ]
    write_text(folder / "results.csv", pd.DataFrame(rows).to_csv(index=False))


def _append_toolkit_table(request: Request, results: Sequence[Record]) -> None:
    """A row in the toolkit's own table: (mean, standard deviation) over seeds, times 100."""
    row: Row = {"Model": request.config.model}
    for name in results[0]["metrics"]["test"]:
        values = np.array([result["metrics"]["test"][name] for result in results]) * 100
        row[name] = (round(float(values.mean()), 2), round(float(values.std()), 2))
    table = request.result_dir / "normal" / f"{request.config.data_name}.csv"
    append_rows(table, pd.DataFrame([row]))


def tune(request: Request, *, times: int, verbose: int) -> Path:
    """The toolkit's random search: ``MMSA_run(is_tune=True)``, scored on validation.

    Returns:
        Its table, a row a set of values.
    """
    check(request)
    config = request.config
    fixed = {key: config.values[key] for key in config.chosen}
    modules.module("run").MMSA_run(
        config.model,
        config.dataset,
        seeds=list(request.seeds[:1]),
        is_tune=True,
        tune_times=times,
        config={**fixed, "featurePath": str(config.feature_path)},
        gpu_ids=[-1 if request.device.type == "cpu" else request.device.index or 0],
        num_workers=request.num_workers,
        verbose_level=verbose,
        model_save_dir=request.model_dir or request.run_dir,
        res_save_dir=request.result_dir,
        log_dir=request.log_dir or request.run_dir,
        **{f"feature_{m}": request.feature_files.get(f"feature_{m}", "") for m in "TAV"},
    )
    return request.result_dir / "tune" / f"{config.dataset}-{config.model}.csv"


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


def environment(request: Request) -> dict[str, Any]:
    """Versions, device and command: what one needs to run the same again."""
    packages = ("MMSA", "torch", "transformers", "numpy", "pandas")
    return {
        "mmsa_suparc": __version__,
        **{name: metadata.version(name) for name in packages},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": str(request.device),
        "processes": processes.count(),
        "threads": torch.get_num_threads(),
        "feature_file": str(request.config.feature_path),
        "text_encoder": str(request.config.values["pretrained"]),
        "repairs": [patch.name for patch in patching.in_force()],
        "command": request.command or " ".join(sys.argv),
    }


def _yaml(content: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True)


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
