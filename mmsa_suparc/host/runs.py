"""Training and testing one seed, and the folder that a run of several leaves behind."""

from __future__ import annotations

import contextlib
import copy
import gc
import json
import logging
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

from mmsa_suparc import __version__
from mmsa_suparc.data import reader, schema
from mmsa_suparc.data.files import write_text
from mmsa_suparc.data.text import find_encoder
from mmsa_suparc.errors import DiskError, DivergedError, UserError
from mmsa_suparc.host import catalogue, seam, toolkit
from mmsa_suparc.host.configs import ENVIRONMENT_DATA_ROOT, ModelConfig, args_for, treated_as
from mmsa_suparc.host.tables import append_rows, plain_cell
from mmsa_suparc.host.watch import Watch
from mmsa_suparc.names import SCORE_RANGES
from mmsa_suparc.training.checkpoint import save_weights

logger = logging.getLogger("MMSA")

Row = dict[str, Any]
#: Names of the metrics that the latest run gave, in the toolkit's order.
last_metrics: list[str] = []


@dataclass
class SeedResult:
    """What one seed gave."""

    seed: int
    metrics: dict[str, dict[str, float]]  # split -> metric -> raw value
    predictions: pd.DataFrame  # split, id, label, prediction
    history: list[Row]
    weights: dict[str, torch.Tensor] = field(repr=False)


def train_seed(
    args: Any,
    *,
    seed: int,
    num_workers: int = 0,
    on_epoch: Callable[[Row], None] = lambda row: None,
) -> SeedResult:
    """Build, train, load the best weights, and measure validation and test.

    Args:
        args: the toolkit's, complete; ``model_save_path`` is where the trainer keeps its best
            weights while training, and must not exist.
        seed: sets every generator before the model is made.
        on_epoch: given a row after each epoch.

    Raises:
        DivergedError: no epoch improved on validation, or a prediction is not finite.
    """
    toolkit.module("utils").setup_seed(seed)
    encoder = seam.current_encoder.set(args["pretrained"])
    try:
        loaders = toolkit.module("run").MMDataLoader(args, num_workers)
        model = toolkit.module("models").AMIO(args).to(args["device"])
        trainer = toolkit.module("trains").ATIO().getTrain(args)
    finally:
        seam.current_encoder.reset(encoder)
    watch = Watch(trainer, epochs=args.get("epochs"), on_epoch=on_epoch)
    with watch.training():
        trainer.do_train(model, loaders)
    checkpoint = Path(args["model_save_path"])
    if not checkpoint.is_file():
        raise DivergedError(
            f"no epoch of {len(watch.history)} improved on validation {args['KeyEval']}: "
            "there are no weights to test"
        )
    weights = torch.load(checkpoint, map_location="cpu", weights_only=True)
    model.load_state_dict(weights)
    model.to(args["device"])
    measured, predictions = {}, []
    for split in ("valid", "test"):
        results, prediction = watch.test(model, loaders[split], split)
        measured[split] = {
            name: float(value)
            for name, value in results.items()
            if isinstance(value, (int, float, np.number))
        }
        data = loaders[split].dataset
        predictions.append(
            pd.DataFrame(
                {
                    "split": split,
                    "id": [plain_cell(str(name)) for name in data.ids],
                    "label": np.asarray(data.labels["M"], dtype=np.float64).reshape(-1).round(6),
                    "prediction": prediction.numpy(),
                }
            )
        )
    last_metrics[:] = measured["test"]
    del model, trainer, loaders
    gc.collect()
    return SeedResult(seed, measured, pd.concat(predictions), watch.history, weights)


def toolkit_run(args: Any, num_workers: int, is_tune: bool) -> dict[str, float]:
    """Stands in for the toolkit's ``_run``: one seed of ``MMSA_run``.

    The seed is the one that ``MMSA_run`` has just set. Weights go to a file of that seed,
    written anew. Tuning is scored on the validation split: the test split selects nothing.
    """
    seed = torch.initial_seed()
    args = copy.deepcopy(args)
    if args.get("cur_seed") == 1:
        _refuse_unknown_keys(args)
    _find_feature_file(Path(args.get("custom_feature") or args["featurePath"]))
    args["pretrained"] = find_encoder(args["pretrained"])
    path = Path(args["model_save_path"])
    args["model_save_path"] = path.with_name(f"{path.stem}-{seed}{path.suffix}")
    args["model_save_path"].unlink(missing_ok=True)
    result = train_seed(args, seed=seed, num_workers=num_workers)
    if is_tune:
        args["model_save_path"].unlink()
    return result.metrics["valid" if is_tune else "test"]


def _refuse_unknown_keys(args: Any) -> None:
    """``MMSA_run(config={...})`` takes any key; one that no model knows is a typing error."""
    from mmsa_suparc.errors import ConfigError, nearest
    from mmsa_suparc.host import configs

    known = set(configs.load(args["model_name"], args["dataset_name"]).values) | RUN_KEYS
    for key in args:
        if key not in known and key not in args.get("d_paras", ()):
            raise ConfigError(f"config: unknown key '{key}'{nearest(key, known)}")


#: What the runner itself adds to ``args``.
RUN_KEYS = {
    "model_name", "dataset_name", "model_save_path", "device", "train_mode", "custom_feature",
    "feature_T", "feature_A", "feature_V", "cur_seed", "train_samples", "d_paras",
}  # fmt: skip


# --- The run folder -------------------------------------------------------------------------


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
    allow_leak: bool = False
    allow_label_range: bool = False
    command: str = ""


def check(request: Request) -> None:
    """Everything that can be wrong before a file is written.

    Raises:
        UserError: one line.
    """
    config = request.config
    catalogue.check(config.model, config.dataset)
    path = config.feature_path
    _find_feature_file(path)
    for flag, name in request.feature_files.items():
        if not Path(name).is_file():
            raise UserError(f"-F{flag[-1].lower()} {name}: no such file")
    find_encoder(str(config.values["pretrained"]))
    content = reader.read(path)
    for flag, name in request.feature_files.items():
        content = _with_modality(content, reader.read(name), flag[-1])
    rules = schema.Rules(
        score_range=None if request.allow_label_range else SCORE_RANGES.get(config.dataset),
        lengths=not config.values["need_data_aligned"],
        unimodal="sims" in treated_as(config.dataset),
        allow_leak=request.allow_leak,
    )
    faults = schema.check(content, rules)
    if faults:
        raise schema.FaultsError(path, faults)
    _check_run_folder(request)


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
        for split in reader.SPLITS
    }


def _find_feature_file(path: Path) -> None:
    if not path.is_file():
        raise UserError(
            f"no feature file at {path}: set the data root (the folder that holds "
            f"{Path(*path.parts[-3:])}) with --data-root DIR or {ENVIRONMENT_DATA_ROOT}"
        )


def _check_run_folder(request: Request) -> None:
    folder = request.run_dir
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--run-dir {folder}: is a file; expected a folder")
    done = _results(folder)
    others = {(row["model"], row["dataset"]) for row in done} - {
        (request.config.model, request.config.dataset)
    }
    if others:
        model, dataset = others.pop()
        raise UserError(
            f"--run-dir {folder}: holds results of {model} on {dataset}; choose another folder"
        )
    taken = [s for s in request.seeds if any(int(row["seed"]) == s for row in done)]
    if taken:
        raise UserError(
            f"--run-dir {folder}: already holds seed {taken[0]}; choose another folder or seed"
        )


def _results(folder: Path) -> list[Row]:
    path = folder / "results.csv"
    if not path.is_file():
        return []
    return [
        {str(key): value for key, value in row.items()}
        for row in pd.read_csv(path).to_dict("records")
    ]


def run(
    request: Request,
    *,
    on_seed: Callable[[int], None] = lambda seed: None,
    on_epoch: Callable[[Row], None] = lambda row: None,
) -> list[SeedResult]:
    """Train every seed and write its folder as soon as it is done.

    Raises:
        SupArcError: what a seed ended with; the seeds before it are kept.
    """
    results = []
    with reader.reading_once():
        check(request)
        for place, seed in enumerate(request.seeds, start=1):
            on_seed(seed)
            results.append(_run_seed(request, seed, place, on_epoch))
    _append_toolkit_table(request, results)
    return results


def _run_seed(
    request: Request, seed: int, place: int, on_epoch: Callable[[Row], None]
) -> SeedResult:
    folder = request.run_dir / f"seed-{seed}"
    config = request.config
    args = args_for(config)
    args.update(
        device=request.device,
        train_mode="regression",
        custom_feature=None,
        cur_seed=place,
        pretrained=find_encoder(config.values["pretrained"]),
        model_save_path=folder / "checkpoint.pth",
        **{f"feature_{m}": request.feature_files.get(f"feature_{m}", "") for m in "TAV"},
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        args["model_save_path"].unlink(missing_ok=True)
    except OSError as error:
        raise DiskError(f"cannot write {folder}: {error.strerror}") from None
    identity = {"model_name": config.model, "dataset_name": config.dataset, "seed": seed}
    write_text(folder / "config.yaml", _yaml({**identity, **config.values}))
    write_text(folder / "environment.json", _json(environment(request)))
    history: list[Row] = []

    def record(row: Row) -> None:
        history.append(row)
        write_text(folder / "history.csv", pd.DataFrame(history).to_csv(index=False))
        on_epoch(row)

    with _logging_to(folder / "run.log", *_log_file(request)):
        result = train_seed(args, seed=seed, num_workers=request.num_workers, on_epoch=record)

    weights = args["model_save_path"]
    save_weights(folder / "model.safetensors", result.weights)
    if request.model_dir is not None:
        name = f"{config.model}-{config.dataset}-{seed}.pth"
        save_weights(request.model_dir / name, result.weights)
    weights.unlink()
    write_text(folder / "predictions.csv", result.predictions.to_csv(index=False))
    write_text(folder / "metrics.json", _json(result.metrics))
    append_rows(
        request.run_dir / "results.csv",
        pd.DataFrame(
            [{"model": config.model, "dataset": config.dataset, "seed": seed,
              **result.metrics["test"]}]
        ),
    )  # fmt: skip
    return result


def _append_toolkit_table(request: Request, results: Sequence[SeedResult]) -> None:
    """A row in the toolkit's own table: (mean, standard deviation) over seeds, times 100."""
    row: Row = {"Model": request.config.model}
    for name in results[0].metrics["test"]:
        values = np.array([result.metrics["test"][name] for result in results]) * 100
        row[name] = (round(float(values.mean()), 2), round(float(values.std()), 2))
    table = request.result_dir / "normal" / f"{request.config.dataset}.csv"
    append_rows(table, pd.DataFrame([row]))


def tune(request: Request, *, times: int, verbose: int) -> Path:
    """The toolkit's random search: ``MMSA_run(is_tune=True)``, scored on validation.

    Returns:
        Its table, a row a set of values.
    """
    check(request)
    config = request.config
    fixed = {key: config.values[key] for key in config.chosen}
    toolkit.module("run").MMSA_run(
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
        "threads": torch.get_num_threads(),
        "feature_file": str(request.config.feature_path),
        "text_encoder": str(request.config.values["pretrained"]),
        "repairs": [repair.name for repair in seam.REPAIRS] if seam.is_applied() else [],
        "command": request.command or " ".join(sys.argv),
    }


def _yaml(content: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True)


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
