"""Search for better values with Optuna; the test split is never seen.

  mmsa tune -m suparc -d mosi --data-root DATA --trials 50 --out tuning
  mmsa tune -m suparc -d mosi --data-root DATA --trials 50 --out tuning --folds 5

writes tuning/best.yaml, which -c takes. A search begins with the values in force, where its ranges
hold them. The first command scores a trial on the validation split, the second by cross-validation
over the videos of training and validation, and trains the best five and the values in force again
with fresh seeds (tuning/top.csv). The same command goes on where it was stopped; with --storage
(any URL that Optuna takes) many machines search together and share --trials.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import Any

from mmsa_suparc.cli import values
from mmsa_suparc.cli.options import (
    add_custom,
    add_model_and_data,
    given,
    load_to_train,
    quiet_libraries,
)
from mmsa_suparc.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_and_data(parser)
    add_custom(parser)
    parser.add_argument(
        "--out", type=values.path, required=True, metavar="DIR", help="where the results go"
    )
    parser.add_argument(
        "--trials", type=values.whole(1, 1_000_000), default=50, metavar="N",
        help="in all; default 50",
    )  # fmt: skip
    parser.add_argument(
        "--ranges", type=values.path, default=None, metavar="FILE",
        help="YAML of names and ranges; default: the shipped ones of the model",
    )  # fmt: skip
    parser.add_argument(
        "--storage", default=None, metavar="URL", help="of the trials; default DIR/trials.db"
    )
    parser.add_argument(
        "-s", "--seed", type=values.seed, default=1111, metavar="N", help="default 1111"
    )
    parser.add_argument(
        "--epochs", type=values.epochs, default=None, metavar="N", help="at most so many"
    )
    _add_folds(parser)
    parser.add_argument("--device", default=None, metavar="NAME", help="as in mmsa run")
    parser.add_argument("-v", "--verbose", type=int, choices=(0, 1, 2), default=1)


def _add_folds(parser: argparse.ArgumentParser) -> None:
    """Scoring by cross-validation."""
    parser.add_argument(
        "--folds", type=values.whole(2, 100), default=None, metavar="K",
        help="score a trial by K-fold cross-validation over videos or speakers",
    )  # fmt: skip
    parser.add_argument(
        "--pool", type=values.words, default=None, metavar="SPLIT,...",
        help="with --folds: the splits that they are made of; default train,valid",
    )  # fmt: skip
    parser.add_argument(
        "--seeds", type=values.whole(1, 100), default=None, metavar="N",
        help="with --folds: trainings a trial and fold, from --seed on; default 1",
    )  # fmt: skip
    parser.add_argument(
        "--fresh-seeds", type=values.whole(1, 100), default=None, metavar="N",
        help="with --folds: seeds with which the best five are trained again; default 3",
    )  # fmt: skip


def handle(options: argparse.Namespace) -> int:
    quiet_libraries(options.verbose)
    from mmsa_suparc import extras
    from mmsa_suparc.bench import ranges
    from mmsa_suparc.data.files import try_writing
    from mmsa_suparc.data.fold import pool_of

    for name in ("pool", "seeds", "fresh_seeds"):
        if options.folds is None and getattr(options, name) is not None:
            raise UserError(f"--{name.replace('_', '-')}: needs --folds")
    pool = pool_of(options.pool or ("train", "valid"), "--pool")
    config = load_to_train(options, {})
    wanted = ranges.Search(
        model=config.model,
        dataset=config.dataset,
        ranges=ranges.read_ranges(config.model, options.ranges),
        config_file=options.config or None,
        overrides=tuple(given(options)),
        data_root=options.data_root,
        device=values.device(options.device),
        seed=options.seed,
        trials=options.trials,
        out=Path(options.out).expanduser(),
        storage=options.storage,
        folds=options.folds,
        pool=pool,
        seeds=options.seeds or 1,
        fresh=options.fresh_seeds or 3,
    )
    ranges.check(wanted)
    extras.require("optuna", "mmsa tune")
    try_writing(wanted.out)
    if wanted.folds:
        return _by_folds(wanted, options.verbose)

    import mmsa_suparc
    from mmsa_suparc.bench import tuning

    mmsa_suparc.register()

    def tell(number: int, score: float, values: dict[str, Any]) -> None:
        if options.verbose > 0:
            result = "pruned or diverged" if math.isnan(score) else f"{score:.4f}"
            print(f"trial {number}/{options.trials}: {result}", flush=True)

    _tell_best(tuning.search(wanted, on_trial=tell), wanted.out)
    return 0


def _by_folds(wanted: Any, verbose: int) -> int:
    from mmsa_suparc.data import folds, reader

    content = reader.read(wanted.config().feature_path)
    for fold in wanted.every_fold:
        folds.cut(content, fold)  # or refuse it
    for doubt in folds.doubts(content, wanted.every_fold[0]):
        print(f"mmsa: {doubt}", file=sys.stderr)

    import mmsa_suparc
    from mmsa_suparc.bench import fold_tuning

    mmsa_suparc.register()

    def tell(name: str, score: float) -> None:
        if verbose > 0:
            result = "pruned or diverged" if math.isnan(score) else f"{wanted.metric} {score:.4f}"
            print(f"{name}: {result}", flush=True)

    with reader.reading_once():
        found = fold_tuning.search(wanted, on_trial=tell)
    for line in found.in_words:
        print(line)
    _tell_best(found.chosen.values, wanted.out)
    return 0


def _tell_best(best: dict[str, Any], out: Path) -> None:
    for name, value in best.items():
        print(f"  {name}: {value if not isinstance(value, float) else round(value, 5)}")
    print(f"best values: {out / 'best.yaml'}")
