"""Searching for better values by cross-validation: scored on clips that no training of a fold saw.

A trial is trained a fold and seed; its score is the mean of the out-of-fold metric. Trials that
are worse than the best one are given up early (Wilcoxon signed-rank test over folds × seeds). At
the end the best few are trained again with seeds that nothing was selected by: the best of many is
better in the search than it is.
"""

from __future__ import annotations

import contextlib
import os
import platform
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from mmsa_suparc.bench.ranges import Search
from mmsa_suparc.bench.tuning import IN_FORCE, begin, begin_with_what_is_in_force, write_trials
from mmsa_suparc.config import Layer, effective
from mmsa_suparc.data.cache import key_of
from mmsa_suparc.data.files import write_text
from mmsa_suparc.data.fold import Fold, pool_in_words
from mmsa_suparc.errors import DivergedError, UserError
from mmsa_suparc.names import METRICS
from mmsa_suparc.runs import identity
from mmsa_suparc.runs.seeds import train_seed
from mmsa_suparc.toolkit import settings
from mmsa_suparc.training.runtime import find_device

#: Trials that are trained again with fresh seeds.
FINALISTS = 5
#: A trial is given up where the test's p against the best trial is below.
GIVEN_UP_BELOW = 0.1
#: Seconds between signs of life of a process, and without any until another one takes it for dead.
HEARTBEAT, DEAD_AFTER = 20, 120
#: Seconds between two looks at what other machines do.
PAUSE = 1.0


@dataclass(frozen=True)
class Finalist:
    """One of the best trials: its values, and its score in the search and with fresh seeds."""

    trial: int
    values: dict[str, Any]
    searched: float
    fresh: float


@dataclass(frozen=True)
class Found:
    """What a search gave, in units of its metric.

    Args:
        metric: of the scores.
        finalists: the best trials of the search, in its order.
        chosen: the one of them that is best with fresh seeds.
        in_force: the one of them that the search began with, where its ranges held the values.
    """

    metric: str
    finalists: tuple[Finalist, ...]
    chosen: Finalist
    in_force: Finalist | None = None

    @property
    def flattered(self) -> float:
        """By how much the search's own winner was better in the search than with fresh seeds."""
        winner = self.finalists[0]
        worse = winner.fresh - winner.searched
        return worse if METRICS[self.metric].better == "lower" else -worse

    @property
    def in_words(self) -> list[str]:
        winner, chosen = self.finalists[0], self.chosen
        flattered = f"flattered by {self.flattered:.4f}" if self.flattered > 0 else "not flattered"
        lines = [
            f"the search's winner, trial {winner.trial + 1}: {self.metric} {winner.searched:.4f} "
            f"in the search, {winner.fresh:.4f} with fresh seeds: {flattered}",
            f"chosen by fresh seeds, trial {chosen.trial + 1}: {self.metric} {chosen.fresh:.4f}, "
            f"the best of {len(self.finalists)}",
        ]
        if (begun := self.in_force) is not None:
            gain = abs(begun.fresh - chosen.fresh)
            than_these = f"these are better by {gain:.4f}" if begun != chosen else "none is better"
            lines.append(
                f"the values in force, trial {begun.trial + 1}: {self.metric} {begun.fresh:.4f} "
                f"with fresh seeds; {than_these}"
            )
        return lines


def search(wanted: Search, *, on_trial: Callable[[str, float], None]) -> Found:
    """Run trials until all machines on this storage have ended as many as asked, then the finals.

    The same call goes on: what a killed one had trained is kept. Writes ``best.yaml``, which
    ``-c`` takes, ``top.csv``, ``trials.csv`` and ``importance.svg``.

    Args:
        wanted: with folds.
        on_trial: told of each ended trial by name, and its score.

    Raises:
        UserError: Optuna is not installed; no such device; no trial ended.
    """
    optuna = begin(wanted)
    ended = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        storage = optuna.storages.RDBStorage(
            wanted.storage_url(), heartbeat_interval=HEARTBEAT, grace_period=DEAD_AFTER
        )
        name, seeds = _study_name(wanted), wanted.search_seeds
        study = optuna.create_study(
            study_name=name, storage=storage, load_if_exists=True,
            sampler=optuna.samplers.TPESampler(seed=_seed_of_this_process(wanted.seed)),
            pruner=optuna.pruners.WilcoxonPruner(p_threshold=GIVEN_UP_BELOW),
        )  # fmt: skip
        _take_over(study)
        if len(study.get_trials(states=ended)) < wanted.trials:
            begin_with_what_is_in_force(wanted, study)
            study.optimize(
                lambda trial: _measure(wanted, study, trial, seeds, on_trial, of=wanted.trials),
                callbacks=[optuna.study.MaxTrialsCallback(wanted.trials, states=ended)],
            )
        _wait(study)
        best = _best_trials(study)
        if not best:
            raise UserError(
                f"none of {len(study.trials)} trials ended with a result; narrow the ranges"
            )
        finals = optuna.create_study(
            study_name=f"{name}-finals", storage=storage, load_if_exists=True,
            pruner=optuna.pruners.NopPruner(),
        )  # fmt: skip
        _run_finals(wanted, finals, best, on_trial)
    found = _found(wanted, best, finals)
    _write(wanted, study, found)
    return found


def _study_name(wanted: Search) -> str:
    """A study is of a model, data, values, ranges and folds; where files lie does not count."""
    config = wanted.config()
    places = ("featurePath", "pretrained")
    values = {k: v for k, v in effective(config.values).items() if k not in places}
    key = key_of(
        sorted(values.items()), identity.of_inputs(config, config.encoder), wanted.seed,
        wanted.pool, wanted.seeds, sorted((k, v.model_dump()) for k, v in wanted.ranges.items()),
    )  # fmt: skip
    return f"{wanted.model}-{wanted.dataset}-{wanted.folds}-folds-{key}"


def _seed_of_this_process(seed: int) -> int:
    """For the sampler: two processes that search together do not propose the same values."""
    process = [seed, os.getpid(), *platform.node().encode(), time.time_ns() % 2**32]
    return int(np.random.SeedSequence(process).generate_state(1)[0])


def _measure(
    wanted: Search,
    study: Any,
    trial: Any,
    seeds: tuple[int, ...],
    on_trial: Callable[[str, float], None],
    *,
    of: int,
    values: Mapping[str, Any] | None = None,
) -> float:
    """The mean score of a trial's values over folds × seeds, lower is better; what an earlier
    process had trained of it is kept."""
    import optuna

    trial.set_user_attr("process", [platform.node(), os.getpid()])
    if values is None:
        values = {name: each.suggest(trial, name) for name, each in wanted.ranges.items()}
    known = dict(study.trials[trial.number].intermediate_values)
    score, name = nan, f"trial {trial.number + 1}/{of}" if of else "final"
    try:
        for step, (seed, fold) in _in_any_order(wanted, seeds, trial.number):
            if step in known:
                continue
            known[step] = _train(wanted, values, fold, seed)
            trial.report(known[step], step)
            if trial.should_prune():
                raise optuna.TrialPruned
        score = float(np.mean(list(known.values())))
    except DivergedError:
        raise optuna.TrialPruned from None
    finally:
        on_trial(name, wanted.sign * score)
    return score


def _in_any_order(
    wanted: Search, seeds: tuple[int, ...], number: int
) -> Iterator[tuple[int, tuple[int, Fold]]]:
    """(step, (seed, fold)); which comes first differs by trial, so none decides too often."""
    every = list(enumerate(product(seeds, wanted.every_fold)))
    order = np.random.default_rng([wanted.seed, number]).permutation(len(every))
    return (every[place] for place in order)


def _train(wanted: Search, values: Mapping[str, Any], fold: Fold, seed: int) -> float:
    """Train on a fold; the metric of the clips that it left out, lower is better."""
    config = wanted.config(Layer("trial", dict(values)), Layer("folds", fold.values))
    with tempfile.TemporaryDirectory() as scratch:
        args = settings.run_args(
            config, device=find_device(wanted.device), checkpoint=Path(scratch) / "checkpoint.pth"
        )
        result = train_seed(args, seed=seed)
    return wanted.sign * result.metrics["test"][wanted.metric]


def _take_over(study: Any) -> None:
    """Put back into the queue what a process of this machine, which is no more, was at, and what
    one of any machine had begun and not signed."""
    import optuna

    for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        if _is_dead(trial):
            attributes = {k: v for k, v in trial.user_attrs.items() if k != "process"}
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            again = optuna.trial.create_trial(
                state=optuna.trial.TrialState.WAITING, params=trial.params,
                distributions=trial.distributions, user_attrs=attributes,
                system_attrs=trial.system_attrs,
                intermediate_values=trial.intermediate_values,
            )  # fmt: skip
            study.add_trial(again)


def _is_dead(trial: Any) -> bool:
    """A process that is killed between beginning a trial and signing it leaves no heartbeat either,
    by which Optuna would know; signing takes milliseconds."""
    if "process" not in trial.user_attrs:
        return bool(datetime.now() - trial.datetime_start > timedelta(seconds=DEAD_AFTER))
    node, process = trial.user_attrs["process"]
    return node == platform.node() and (process == os.getpid() or not _is_alive(process))


def _is_alive(process: int) -> bool:
    with contextlib.suppress(PermissionError):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
    return True


def _wait(study: Any) -> None:
    """Until no other machine is at a trial; one that gives no sign of life is not waited for."""
    import optuna

    while study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        _take_over(study)
        optuna.storages.fail_stale_trials(study)
        time.sleep(PAUSE)


def _best_trials(study: Any) -> list[Any]:
    """The best ones, no values twice, and the one of the values in force."""
    import optuna

    found: list[Any] = []
    complete = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    for trial in sorted(complete, key=lambda one: one.value):
        if all(trial.params != other.params for other in found):
            found.append(trial)
    return [*found[:FINALISTS], *filter(_is_in_force, found[FINALISTS:])]


def _is_in_force(trial: Any) -> bool:
    return IN_FORCE in trial.user_attrs


def _run_finals(
    wanted: Search, finals: Any, best: list[Any], on_trial: Callable[[str, float], None]
) -> None:
    """Train the finalists with fresh seeds; several machines take what is left."""
    import optuna

    states = optuna.trial.TrialState

    def objective(trial: Any) -> float:
        values = trial.user_attrs.get("values")
        if values is None:  # another machine was faster: nothing is left
            raise optuna.TrialPruned
        return _measure(wanted, finals, trial, wanted.fresh_seeds, on_trial, of=0, values=values)

    while True:
        _take_over(finals)
        there = {
            trial.user_attrs.get("finalist") for trial in finals.trials
            if trial.state != states.FAIL
        }  # fmt: skip
        for trial in best:
            if trial.number not in there:
                about = {"finalist": trial.number, "values": trial.params}
                finals.enqueue_trial({}, user_attrs=about)
        if finals.get_trials(states=(states.WAITING,)):
            finals.optimize(objective, n_trials=1)
        elif finals.get_trials(states=(states.RUNNING,)):
            optuna.storages.fail_stale_trials(finals)
            time.sleep(PAUSE)
        else:
            return


def _found(wanted: Search, best: list[Any], finals: Any) -> Found:
    import optuna

    fresh = {
        trial.user_attrs["finalist"]: trial.value
        for trial in finals.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    }
    finalists = tuple(
        Finalist(trial.number, dict(trial.params), wanted.sign * trial.value,
                 wanted.sign * fresh[trial.number])
        for trial in best if trial.number in fresh
    )  # fmt: skip
    if not finalists:
        raise UserError("none of the best trials ended with fresh seeds; narrow the ranges")
    chosen = min(finalists, key=lambda one: wanted.sign * one.fresh)
    begun = {trial.number for trial in best if _is_in_force(trial)}
    in_force = next((one for one in finalists if one.trial in begun), None)
    return Found(wanted.metric, finalists, chosen, in_force)


def _write(wanted: Search, study: Any, found: Found) -> None:
    config = wanted.config()
    best = {key: config.values[key] for key in sorted(config.chosen)} | found.chosen.values
    head = [
        f"Best of {len(study.trials)} trials of {wanted.model} on {wanted.dataset}, "
        f"{wanted.folds}-fold cross-validation over {pool_in_words(wanted.pool)}, seeds "
        f"{', '.join(map(str, wanted.search_seeds))}; fresh seeds "
        f"{', '.join(map(str, wanted.fresh_seeds))}.",
        *found.in_words,
    ]
    text = "".join(f"# {line}\n" for line in head) + yaml.safe_dump(best)
    write_text(wanted.out / "best.yaml", text)
    rows = [
        {
            "trial": one.trial, "in_search": one.searched, "fresh_seeds": one.fresh,
            "chosen": one is found.chosen, **one.values,
        }
        for one in found.finalists
    ]  # fmt: skip
    write_text(wanted.out / "top.csv", pd.DataFrame(rows).to_csv(index=False))
    write_trials(wanted, study)
