"""Searching for better values with Optuna, on the validation split only.

The toolkit tunes by its test metrics; here no trial ever sees the test split.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Mapping
from math import nan
from pathlib import Path
from typing import Any

import yaml

from mmsa_suparc import extras
from mmsa_suparc.bench.ranges import Search
from mmsa_suparc.config import Layer
from mmsa_suparc.data import reader
from mmsa_suparc.data.files import write_atomically, write_text
from mmsa_suparc.errors import DivergedError, UserError
from mmsa_suparc.names import METRICS
from mmsa_suparc.runs.recorder import Recorder
from mmsa_suparc.runs.seeds import build
from mmsa_suparc.toolkit import settings
from mmsa_suparc.training.runtime import find_device

#: What marks the trial of the values that are searched from.
IN_FORCE = "in force"


def search(
    wanted: Search, *, on_trial: Callable[[int, float, dict[str, Any]], None]
) -> dict[str, Any]:
    """Run trials until there are as many as asked; those of an earlier start count.

    Writes ``best.yaml``, which ``-c`` takes, ``trials.csv`` and ``importance.svg``.

    Returns:
        The best values.

    Raises:
        UserError: Optuna is not installed; no such device; no trial ended.
    """
    optuna = begin(wanted)
    study = optuna.create_study(
        study_name=f"{wanted.model}-{wanted.dataset}",
        storage=wanted.storage_url(),
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
    if ended < wanted.trials:
        begin_with_what_is_in_force(wanted, study)
    with reader.reading_once(), warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.optimize(objective, n_trials=max(0, wanted.trials - ended))
    if not study.get_trials(states=(optuna.trial.TrialState.COMPLETE,)):
        raise UserError(
            f"none of {len(study.trials)} trials ended with a result; narrow the ranges"
        )
    _write(wanted, study)
    return dict(study.best_params)


def begin(wanted: Search) -> Any:
    """What every search needs before its first trial: a device, its folder, and the library, which
    is returned and speaks of errors only.

    Raises:
        UserError: Optuna is not installed; no such device.
    """
    extras.require("optuna", "mmsa tune")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    find_device(wanted.device)  # or refuse it
    wanted.out.mkdir(parents=True, exist_ok=True)
    return optuna


def begin_with_what_is_in_force(wanted: Search, study: Any) -> None:
    """The first trial of a study is that of the values that are searched from."""
    if (values := wanted.in_force) is not None:
        study.enqueue_trial(values, user_attrs={IN_FORCE: True}, skip_if_exists=True)


def _validate(wanted: Search, values: Mapping[str, Any], trial: Any) -> float:
    """Train with these values; the best validation ``KeyEval``, lower is better."""
    import optuna

    config = wanted.config(Layer("trial", dict(values)))
    sign = 1.0 if METRICS[config.values["KeyEval"]].better == "lower" else -1.0
    scores: list[float] = []

    def on_epoch(row: dict[str, Any]) -> None:
        scores.append(sign * float(row[f"valid_{config.values['KeyEval']}"]))
        trial.report(min(scores), len(scores))
        if trial.should_prune():
            raise optuna.TrialPruned

    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = Path(scratch) / "checkpoint.pth"
        args = settings.run_args(config, device=find_device(wanted.device), checkpoint=checkpoint)
        loaders, model, trainer = build(args, seed=wanted.seed)
        with Recorder(trainer, epochs=args.get("epochs"), on_epoch=on_epoch).training():
            trainer.do_train(model, loaders)
    return min(scores)


def _write(wanted: Search, study: Any) -> None:
    config = wanted.config()
    best = {key: config.values[key] for key in sorted(config.chosen)} | study.best_params
    head = (
        f"# Best of {len(study.trials)} trials of {wanted.model} on the validation split of "
        f"{wanted.dataset}: {study.best_value:.4f}.\n"
    )
    write_text(wanted.out / "best.yaml", head + yaml.safe_dump(best))
    write_trials(wanted, study)


def write_trials(wanted: Search, study: Any) -> None:
    """``trials.csv``, and ``importance.svg`` where there is something to be important."""
    import optuna

    table = study.trials_dataframe(attrs=("number", "value", "params", "state"))
    table.loc[table["state"] != "COMPLETE", "value"] = nan  # of less than the others' values
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
