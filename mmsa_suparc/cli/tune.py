"""Search for better values with Optuna, on the validation split only.

  mmsa tune -m suparc -d mosi --data-root DATA --trials 50 --out tuning

writes tuning/best.yaml, which -c takes. The same command goes on where it was stopped; with
--storage (any URL that Optuna takes) many machines search together.
"""

from __future__ import annotations

import argparse
import math
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
    parser.add_argument("--device", default=None, metavar="NAME", help="as in mmsa run")
    parser.add_argument("-v", "--verbose", type=int, choices=(0, 1, 2), default=1)


def handle(options: argparse.Namespace) -> int:
    quiet_libraries(options.verbose)
    from mmsa_suparc.bench import ranges

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
    )
    ranges.check(wanted)

    import mmsa_suparc
    from mmsa_suparc.bench import tuning

    mmsa_suparc.register()

    def tell(number: int, score: float, values: dict[str, Any]) -> None:
        if options.verbose > 0:
            result = "pruned or diverged" if math.isnan(score) else f"{score:.4f}"
            print(f"trial {number}/{options.trials}: {result}", flush=True)

    best = tuning.search(wanted, on_trial=tell)
    for name, value in best.items():
        print(f"  {name}: {value if not isinstance(value, float) else round(value, 5)}")
    print(f"best values: {wanted.out / 'best.yaml'}")
    return 0
