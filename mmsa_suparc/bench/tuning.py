"""Searching for better values with Optuna, on the validation split only.

The toolkit tunes by its test metrics; here no trial ever sees the test split.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import yaml
from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError, model_validator

from mmsa_suparc.config import Float, Layer, plugin_configs, read_file
from mmsa_suparc.data import reader
from mmsa_suparc.data.files import write_atomically, write_text
from mmsa_suparc.errors import ConfigError, DivergedError, UserError, nearest, shown
from mmsa_suparc.names import METRICS
from mmsa_suparc.runs.recorder import Recorder
from mmsa_suparc.runs.seeds import build
from mmsa_suparc.toolkit import settings


class Range(BaseModel):
    """Where to search for one value: between two numbers, or among choices."""

    model_config = ConfigDict(extra="forbid")

    low: Float | None = None
    high: Float | None = None
    log: StrictBool = False
    kind: Literal["float", "int"] = "float"
    choices: Annotated[list[Any], Field(max_length=100)] | None = None

    @model_validator(mode="after")
    def _complete(self) -> Range:
        numbers = self.low is not None and self.high is not None
        if numbers == bool(self.choices):
            raise ValueError("expected low and high, or choices")
        if numbers and not (self.low < self.high and (self.low > 0 or not self.log)):  # type: ignore[operator]
            raise ValueError("expected low < high, above 0 for a logarithmic range")
        return self

    def suggest(self, trial: Any, name: str) -> Any:
        if self.choices:
            return trial.suggest_categorical(name, self.choices)
        suggest = trial.suggest_int if self.kind == "int" else trial.suggest_float
        return suggest(name, self.low, self.high, log=self.log)


@dataclass(frozen=True)
class Search:
    """A search as the user asked for it."""

    model: str
    dataset: str
    ranges: Mapping[str, Range]
    config_file: str | None
    overrides: tuple[Layer, ...]
    data_root: str | None
    device: torch.device
    seed: int
    trials: int
    out: Path
    storage: str | None


def read_ranges(model: str, path: str | None) -> dict[str, Range]:
    """The declared ranges of a model: a file of the user's, or the shipped one.

    Raises:
        UserError: no ranges for this model.
        ConfigError: a range that is none, in one line.
    """
    file = Path(path) if path else plugin_configs() / "tune" / f"{model}.yaml"
    if not path and not file.is_file():
        raise UserError(f"no ranges to search for model '{model}': name a file with --ranges")
    found = {}
    for name, content in read_file(file).items():
        try:
            found[name] = Range.model_validate(content)
        except ValidationError as error:
            message = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise ConfigError(f"{file}: {name} = {shown(content)}: {message}") from None
    return found


def search(
    wanted: Search, *, on_trial: Callable[[int, float, dict[str, Any]], None]
) -> dict[str, Any]:
    """Run trials until there are as many as asked; those of an earlier start count.

    Writes ``best.yaml``, which ``-c`` takes, ``trials.csv`` and ``importance.svg``.

    Returns:
        The best values.

    Raises:
        UserError: Optuna is not installed; an unknown name among the ranges; no trial ended.
    """
    try:
        import optuna
    except ImportError:
        raise UserError(
            "mmsa tune: Optuna is not installed; pip install 'mmsa-suparc[tune]'"
        ) from None
    config = _config(wanted)
    _check_ranges(wanted, config)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    wanted.out.mkdir(parents=True, exist_ok=True)
    storage = wanted.storage or f"sqlite:///{(wanted.out / 'trials.db').resolve()}"
    study = optuna.create_study(
        study_name=f"{wanted.model}-{wanted.dataset}",
        storage=storage,
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=wanted.seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2),
    )

    def objective(trial: Any) -> float:
        values = {name: each.suggest(trial, name) for name, each in wanted.ranges.items()}
        score = nan
        try:
            score = _validate(wanted, values, trial)
        except DivergedError:
            raise optuna.TrialPruned from None
        finally:
            on_trial(trial.number + 1, score, values)
        return score

    states = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    ended = len(study.get_trials(states=states))
    with reader.reading_once(), warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.optimize(objective, n_trials=max(0, wanted.trials - ended))
    if not study.get_trials(states=(optuna.trial.TrialState.COMPLETE,)):
        raise UserError(
            f"none of {len(study.trials)} trials ended with a result; narrow the ranges"
        )
    _write(wanted, study)
    return dict(study.best_params)


def _check_ranges(wanted: Search, config: settings.ModelConfig) -> None:
    """Before the first trial: names that there are, and values that the model takes."""
    for name, each in wanted.ranges.items():
        if name not in config.values:
            raise ConfigError(f"ranges: unknown key {shown(name)}{nearest(name, config.values)}")
        whole = type(config.values[name]) is int
        if each.choices is None and whole and each.kind == "float":
            raise ConfigError(f"ranges: {name} takes whole numbers; expected kind: int")
        for value in each.choices or (each.low, each.high):
            _config(wanted, Layer("ranges", {name: value}))


def _config(wanted: Search, *above: Layer) -> settings.ModelConfig:
    return settings.load(
        wanted.model, wanted.dataset, config_file=wanted.config_file,
        overrides=(*wanted.overrides, *above), data_root=wanted.data_root,
    )  # fmt: skip


def _validate(wanted: Search, values: Mapping[str, Any], trial: Any) -> float:
    """Train with these values; the best validation ``KeyEval``, lower is better."""
    import optuna

    config = _config(wanted, Layer("trial", dict(values)))
    sign = 1.0 if METRICS[config.values["KeyEval"]].better == "lower" else -1.0
    scores: list[float] = []

    def on_epoch(row: dict[str, Any]) -> None:
        scores.append(sign * float(row[f"valid_{config.values['KeyEval']}"]))
        trial.report(min(scores), len(scores))
        if trial.should_prune():
            raise optuna.TrialPruned

    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = Path(scratch) / "checkpoint.pth"
        args = settings.run_args(config, device=wanted.device, checkpoint=checkpoint)
        loaders, model, trainer = build(args, seed=wanted.seed)
        with Recorder(trainer, epochs=args.get("epochs"), on_epoch=on_epoch).training():
            trainer.do_train(model, loaders)
    return min(scores)


def _write(wanted: Search, study: Any) -> None:
    import optuna

    config = _config(wanted)
    best = {key: config.values[key] for key in sorted(config.chosen)} | study.best_params
    head = (
        f"# Best of {len(study.trials)} trials of {wanted.model} on the validation split of "
        f"{wanted.dataset}: {study.best_value:.4f}.\n"
    )
    write_text(wanted.out / "best.yaml", head + yaml.safe_dump(best))
    table = study.trials_dataframe(attrs=("number", "value", "params", "state"))
    write_text(wanted.out / "trials.csv", table.to_csv(index=False))
    finished = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    if len(finished) < 2 or len({trial.value for trial in finished}) < 2:
        return  # nothing to be important
    importance = optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
    )
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 0.35 * len(importance) + 1), layout="constrained")
    plot = figure.add_subplot()
    names = list(importance)[::-1]
    plot.barh(names, [importance[name] for name in names])
    plot.set_xlabel("importance for the validation score")
    write_atomically(wanted.out / "importance.svg", lambda file: figure.savefig(file, format="svg"))
