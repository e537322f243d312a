"""Train and test a model of the MMSA toolkit, SupArc or a plugin's.

  mmsa -m suparc -d demo                     nothing to download, a minute
  mmsa -m suparc -d mosi --data-root DATA    CMU-MOSI from DATA/MOSI/Processed
  mmsa -m self_mm -d mosi -s 1111 -s 1112    a model of the toolkit, two seeds

Other verbs (mmsa VERB --help):
  bench      compare models by a file: a grid, tables, tests, pictures
  tune       search for better values, on validation only
  models     what runs here, what does not, and why
  datasets   data sets, and whether their feature files are found
  config     the merged configuration and where each value comes from
  data       check a feature file, or make one
  extract    turn videos into a feature file
  predict    score videos or features with a trained model
  app        a local page to try a trained model
  export     a trained model as ONNX or torch.export
  doctor     versions, devices, paths found, and the repairs in force
  completion a script with which a shell completes all this

Exit status: 0 done, 1 an internal error, 2 bad input or configuration,
3 training diverged, 4 disk or I/O, 130 or 143 stopped by SIGINT or SIGTERM
(--resume goes on).
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from mmsa_suparc.cli import values
from mmsa_suparc.cli.options import (
    add_allowances,
    add_custom,
    add_model_and_data,
    load_to_train,
    quiet_libraries,
)
from mmsa_suparc.errors import StoppedError, SupArcError, UserError

TOOLKIT_SEEDS = (1111, 1112, 1113, 1114, 1115)
#: A log file is told how long a run may still take if it is more than this many seconds.
TOLD = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_and_data(parser)
    add_custom(parser)
    parser.add_argument(
        "-s", "--seeds", action="append", type=values.seed, default=[], metavar="N",
        help="random seed; repeatable; default 1111 to 1115 (demo: 1111)",
    )  # fmt: skip
    parser.add_argument(
        "--epochs", type=values.epochs, default=None, metavar="N", help="at most so many"
    )
    parser.add_argument(
        "--run-dir", type=values.path, default=None, metavar="DIR",
        help="run folder; default runs/MODEL-DATASET-TIME",
    )  # fmt: skip
    parser.add_argument(
        "--resume", action="store_true",
        help="go on with the run in --run-dir: finished seeds are kept, a killed one "
        "continues after its last saved epoch",
    )  # fmt: skip
    parser.add_argument(
        "--device", default=None, metavar="NAME",
        help="cpu, cuda, cuda:N; default CUDA where there is one",
    )  # fmt: skip
    parser.add_argument(
        "-g", "--gpu-ids", action="append", type=values.whole(-1, 127), default=[], metavar="N",
        help="GPU number, as in the toolkit; -1 means CPU",
    )  # fmt: skip
    parser.add_argument(
        "-n", "--num-workers", type=values.whole(0, 1_024), default=0, metavar="N",
        help="loader processes for the toolkit's models; default 0 (SupArc needs none)",
    )  # fmt: skip
    parser.add_argument(
        "-v", "--verbose", type=int, choices=(0, 1, 2), default=1,
        help="0 results only, 1 a line an epoch, 2 also tracebacks and library messages",
    )  # fmt: skip
    parser.add_argument(
        "-t", "--tune", action="store_true",
        help="the toolkit's random search over its declared values, scored on validation",
    )  # fmt: skip
    parser.add_argument(
        "-tt", "--tune-times", type=values.whole(1, 1_000_000), default=50, metavar="N",
        help="sets of values to try; default 50",
    )  # fmt: skip
    for letter, modality in (("T", "text"), ("A", "audio"), ("V", "vision")):
        parser.add_argument(
            f"-F{letter.lower()}", f"--feature-{letter}", type=values.path, default="",
            metavar="FILE", help=f"feature file to take {modality} from",
        )  # fmt: skip
    parser.add_argument(
        "--tracker", choices=("tensorboard", "wandb"), default=None,
        help="also log every epoch there, in the run folder (wandb: offline)",
    )  # fmt: skip
    add_allowances(parser)
    parser.add_argument(
        "--model-save-dir", type=values.path, default="", metavar="DIR",
        help="also save the weights there, as MODEL-DATASET-SEED.pth",
    )  # fmt: skip
    parser.add_argument(
        "--res-save-dir", type=values.path, default="", metavar="DIR",
        help="the toolkit's results table is DIR/normal/DATASET.csv; default ~/MMSA/results",
    )  # fmt: skip
    parser.add_argument(
        "--log-dir", type=values.path, default="", metavar="DIR",
        help="also log to DIR/MODEL-DATASET.log, as the toolkit does",
    )  # fmt: skip


def handle(options: argparse.Namespace) -> int:
    if len(set(options.seeds)) < len(options.seeds):
        raise UserError("-s: a seed is named twice; name each once")
    quiet_libraries(options.verbose)
    try:
        request = _request(options)
    except SupArcError as error:
        if "WORLD_SIZE" in os.environ:
            _tell_the_others(error, options.device)
        raise
    if options.tune:
        from mmsa_suparc.runs import toolkit_table

        table = toolkit_table.tune(request, times=options.tune_times, verbose=options.verbose)
        print(f"tuning results: {table}")
        return 0
    return _train(request, options.verbose)


def _tell_the_others(error: SupArcError, device: str | None) -> NoReturn:
    """One of several processes cannot begin: so none does."""
    from mmsa_suparc.training import processes
    from mmsa_suparc.training.runtime import find_device

    def fail() -> NoReturn:
        raise error

    processes.connect(find_device("cpu" if device == "cpu" else None))
    processes.together(fail)
    raise error


def _request(options: argparse.Namespace) -> Any:
    """What the options ask for."""
    device = values.device(_device_name(options))
    feature_files = {
        f"feature_{m}": name for m in "TAV" if (name := getattr(options, f"feature_{m}"))
    }
    config = load_to_train(options, feature_files)

    if options.tune:
        config.tunable()

    from mmsa_suparc.runs.places import Places

    name = f"runs/{config.model}-{config.data_name}-{time.strftime('%Y%m%d-%H%M%S')}"
    seeds = tuple(options.seeds) or ((1111,) if config.dataset == "demo" else TOOLKIT_SEEDS)
    run_dir = Path(options.run_dir or name).expanduser()
    result_dir = Path(options.res_save_dir or "~/MMSA/results").expanduser()
    models, logs = _folder(options.model_save_dir), _folder(options.log_dir)
    places = Places(run_dir, result_dir / ("tune" if options.tune else "normal"), models, logs)
    _refuse_early(options, config, seeds, places, feature_files)

    import mmsa_suparc
    from mmsa_suparc.runs.request import Request
    from mmsa_suparc.training.runtime import find_device

    mmsa_suparc.register()
    return Request(
        config=config,
        seeds=seeds,
        run_dir=run_dir,
        device=find_device(device),
        result_dir=result_dir,
        model_dir=models,
        log_dir=logs,
        num_workers=options.num_workers,
        resume=options.resume,
        tracker=options.tracker,
        allow_leak=options.allow_leak,
        allow_label_range=options.allow_label_range,
        feature_files=feature_files,
    )


def _folder(name: str) -> Path | None:
    return Path(name).expanduser() if name else None


def _refuse_early(
    options: argparse.Namespace,
    config: Any,
    seeds: tuple[int, ...],
    places: Any,
    feature_files: dict[str, str],
) -> None:
    """What the run itself would refuse, said before torch is loaded: a tracker that is not there, a
    folder of another run or of none, a place that cannot be written."""
    from mmsa_suparc.runs import identity, resuming, tracking
    from mmsa_suparc.runs.places import try_outputs
    from mmsa_suparc.runs.records import Records

    tracking.require_installed(options.tracker)
    records = Records(places.run_dir)
    records.refuse_others(config.model, config.dataset, seeds, resume=options.resume)
    if options.resume and records.path.is_dir():
        encoder = identity.encoder_of(config)
        resuming.refuse_others(
            records, seeds,
            lambda seed: identity.of_run(
                config, seed, encoder=encoder, device="", feature_files=feature_files
            ),
        )  # fmt: skip
    if os.environ.get("RANK", "0") == "0":  # the first process alone writes
        try_outputs(places)


def _train(request: Any, verbose: int) -> int:
    from mmsa_suparc.analysis.curves import draw_curves
    from mmsa_suparc.cli.console import EpochLines, RunClock, console, results_table
    from mmsa_suparc.progress import outlook, span
    from mmsa_suparc.runs.run import run
    from mmsa_suparc.training.stop import Stop, stopped

    config = request.config
    lines: list[EpochLines] = []
    epochs = config.values.get("epochs")
    clock = RunClock(len(request.seeds), epochs)

    def end_of_seed() -> None:
        if verbose > 0 and lines:
            lines[0].end(config.values.get("early_stop"))

    def on_seed(seed: int) -> None:
        end_of_seed()
        clock.seed()
        is_finished = request.folder.record_of(seed) is not None
        if not is_finished:
            key = None if lines else config.values.get("KeyEval", "Loss")  # explained once
            lines[:] = [EpochLines(epochs, key)]
        if verbose > 0:
            ordinal = f"{list(request.seeds).index(seed) + 1}/{len(request.seeds)}"
            how = "finished before, kept as it is" if is_finished else request.device
            print(
                f"{config.model} on {config.data_name}, seed {seed} ({ordinal}), {how}", flush=True
            )

    def on_epoch(row: dict[str, Any]) -> None:
        clock.epoch(row)
        left = clock.left()
        outlook.set(f"run ≤ {span(left)}" if left else "")
        if verbose > 0:
            lines[0](row)
            is_first = row["epoch"] == 1 and not sys.stdout.isatty()  # where no bar tells
            if is_first and left and left > TOLD:
                print(f"at most {span(left)} left", flush=True)

    stop = Stop()
    try:
        with stop.listening():
            results = run(request, on_seed=on_seed, on_epoch=on_epoch, stop=stop)
            end_of_seed()
    except StoppedError as error:
        raise stopped(f"{error}; to go on: {_resume_command(request)}", stop.signal or 2) from None
    finally:
        outlook.set("")
    if not results:
        return 0  # the main process tells
    title = f"{config.model} on {config.data_name}"
    console().print(
        results_table(title, [(record["seed"], record["metrics"]["test"]) for record in results])
    )
    draw_curves(request.run_dir, title)
    print(f"run folder: {request.run_dir}")
    return 0


def _resume_command(request: Any) -> str:
    """The command that was given, with what makes it go on."""
    arguments = [word for word in sys.argv[1:] if word != "--resume"]
    if "--run-dir" not in " ".join(arguments):
        arguments += ["--run-dir", str(request.run_dir)]
    return shlex.join(["mmsa", *arguments, "--resume"])


def _device_name(options: argparse.Namespace) -> str | None:
    if options.device is not None:
        if options.gpu_ids:
            raise UserError("--device and -g both name a device; use one of them")
        return str(options.device)
    if not options.gpu_ids:
        return None
    return "cpu" if options.gpu_ids[0] < 0 else f"cuda:{options.gpu_ids[0]}"
