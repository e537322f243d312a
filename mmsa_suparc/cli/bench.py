"""Compare models by a file: a grid of trainings, then tables, tests and pictures.

  mmsa bench quick --out bench         demo data, minutes
  mmsa bench FILE.yaml --out DIR       a file of your own
  mmsa bench FILE.yaml --out DIR --power 0.02   what it would take to show a difference of 0.02
  mmsa bench report DIR                the report again, of what is finished in DIR

DIR holds results.csv, summary.json, report.html, tables/, figures/ and a run folder a training
under cells/. What is finished there is not done again: the same command goes on. The report is
made anew while trainings run, and on a stop.

Exit status: 0 all trainings are done, 1 some failed (the report names them), 2 bad input,
130 or 143 stopped by SIGINT or SIGTERM (the same command goes on).
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from mmsa_suparc.cli import values
from mmsa_suparc.cli.bench_report import print_columns, tell
from mmsa_suparc.cli.json_output import add_json, print_json
from mmsa_suparc.cli.options import add_custom, of_own_data
from mmsa_suparc.errors import StoppedError, UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", type=values.path, metavar="FILE|NAME", help="a benchmark file, or a shipped one"
    )
    parser.add_argument(
        "--out", type=values.path, required=True, metavar="DIR", help="where the results go"
    )
    parser.add_argument(
        "-d", "--dataset", action="append", default=[], metavar="NAME",
        help="instead of the file's data sets; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "-s", "--seeds", action="append", type=values.seed, default=[], metavar="N",
        help="instead of the file's seeds; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--variant", action="append", default=[], metavar="NAME",
        help="train only this one of the file's variants (the report has the finished ones of "
        "the others, too); repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--data-root", type=values.path, default=None, metavar="DIR", help="as in mmsa run"
    )
    parser.add_argument(
        "--text-encoder", default=None, metavar="NAME_OR_PATH", help="for every model that uses one"
    )
    parser.add_argument(
        "--epochs", type=values.epochs, default=None, metavar="N", help="at most, for all"
    )
    parser.add_argument(
        "--folds", type=values.whole(2, 100), default=None, metavar="N",
        help="cross-validate by video or speaker: N folds of the file's clips; each clip is "
        "predicted once a seed, and out_of_fold.csv holds that",
    )  # fmt: skip
    parser.add_argument(
        "--pool", type=values.words, default=None, metavar="SPLIT,...",
        help="the splits that the folds are made of; default train,valid,test",
    )  # fmt: skip
    add_custom(parser)
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="assignments",
        help="a value for all trainings, above the file's shared ones; repeatable",
    )  # fmt: skip
    _add_jobs(parser)
    parser.add_argument(
        "--executor", choices=("local", "ray", "slurm"), default="local",
        help="local processes, a Ray cluster (extra ray) or Slurm (extra slurm); default local",
    )  # fmt: skip
    parser.add_argument("--address", default=None, metavar="HOST", help="of the Ray cluster")
    parser.add_argument(
        "--cpus",
        type=values.number(0.01, 10_000),
        default=1,
        metavar="N",
        help="Ray: cores a training",
    )
    parser.add_argument(
        "--gpus", type=values.number(0, 10_000), default=0, metavar="N", help="Ray: GPUs a training"
    )
    parser.add_argument(
        "--send-limit", type=values.size, default=values.size("2G"), metavar="SIZE",
        help="Ray: bytes of a data set or text encoder that may be sent to a machine without it, "
        "as 500M; default 2G",
    )  # fmt: skip
    parser.add_argument(
        "--reference", action="store_true",
        help="show the figures that the toolkit's authors report beside what is measured",
    )  # fmt: skip
    parser.add_argument("--retry-failed", action="store_true", help="run failed trainings again")
    parser.add_argument(
        "--power", type=values.number(1e-6, 1e6), default=None, metavar="DIFFERENCE",
        help="run nothing; say from what is finished in DIR how many seeds and videos would show "
        "this difference of MAE with 80%% power",
    )  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="print the plan, run nothing")
    add_json(parser)
    parser.add_argument("-v", "--verbose", type=int, choices=(0, 1, 2), default=1)


def _add_jobs(parser: argparse.ArgumentParser) -> None:
    """What trainings leave, and how many there are at a time, here and on Slurm."""
    parser.add_argument(
        "--no-models", action="store_true",
        help="keep no weights of trainings that finish from now on, as keep_models: false in the "
        "file: hundreds of MB each with a text encoder of usual size",
    )  # fmt: skip
    parser.add_argument(
        "--jobs", type=values.jobs_or_auto, default=1, metavar="N|auto",
        help="trainings at a time, each on a GPU of its own where there are GPUs; auto: as many as "
        "they hold, or by cores and memory; default 1",
    )  # fmt: skip
    parser.add_argument(
        "--jobs-per-gpu", type=values.whole(1, 64), default=1, metavar="K",
        help="trainings that may share a GPU; default 1",
    )  # fmt: skip
    parser.add_argument(
        "--slurm", action="append", default=[], metavar="KEY=VALUE,...",
        help="Slurm: what each job asks for, as sbatch knows it: "
        "partition=gpu,gpus_per_node=1,time=60; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--array-parallelism", type=values.whole(1, 1_000_000), default=256, metavar="N",
        help="Slurm: trainings at a time; default 256",
    )  # fmt: skip
    parser.add_argument(
        "--cancel-on-stop", action="store_true",
        help="Slurm: Ctrl-C cancels the jobs; without it they go on, and the same command "
        "watches them again",
    )  # fmt: skip


def handle(options: argparse.Namespace) -> int:
    from mmsa_suparc import announced, extras
    from mmsa_suparc.bench import benchmark, plan, slurm_options
    from mmsa_suparc.config import assignments
    from mmsa_suparc.data.files import try_writing
    from mmsa_suparc.training.cuda import has_cuda

    if options.json and not options.dry_run:
        raise UserError("--json prints the plan: needs --dry-run; results are in DIR/summary.json")
    of_slurm = slurm_options.read(options.slurm)
    if options.executor == "slurm":
        from mmsa_suparc.bench import slurm

        slurm.require(of_slurm)
    elif options.slurm:
        raise UserError("--slurm: needs --executor slurm")
    if options.executor == "ray":
        extras.require("ray", "--executor ray")
    announced.announce()
    file = plan.read(plan.find_file(options.file))
    shared = dict(assignments(options.assignments).values)
    datasets = options.dataset or file.data_sets
    shared.update(of_own_data(options, datasets))
    out = Path(options.out).expanduser()
    device = "cuda" if has_cuda() else "cpu"  # what a cell will find for itself
    if options.executor == "ray":  # its machines may have what this one has not
        device = "cuda" if options.gpus else "cpu"
    elif options.executor == "slurm":
        device = of_slurm.device
    asked = benchmark.prepare(
        file, out, device=device, data_sets=datasets, seeds=options.seeds, shared=shared,
        text_encoder=options.text_encoder, epochs=options.epochs, only=options.variant,
        folds=options.folds, pool=options.pool, data_root=options.data_root,
        keep_models=False if options.no_models else None,
    )  # fmt: skip
    if asked.plan.folds:
        from mmsa_suparc.bench.fold_doubts import fold_doubts

        for doubt in fold_doubts(asked.plan, options.data_root):
            print(f"mmsa: {doubt}", file=sys.stderr)
    if asked.repeated:
        print(f"mmsa: {asked.repeated}", file=sys.stderr)
    if options.dry_run:
        _print_plan(_planned(asked), as_json=options.json)
        return 0
    if options.power is not None:
        return _print_power(options.power, asked, out)
    try_writing(out)
    kept = asked.write(out, shlex.join(["mmsa", *sys.argv[1:]]))
    _run(options, asked.trainings(), of_slurm, device)

    from mmsa_suparc.analysis.finished import report_finished

    results, report = report_finished(kept, out, with_reported=options.reference)
    tell(results, report, statuses=("failed", "missing"))
    return 0 if all(result.status == "done" for result in results.cells) else 1


def _run(options: argparse.Namespace, jobs: list[Any], of_slurm: Any, device: str) -> None:
    from mmsa_suparc.bench import devices, execute, ray_cluster, slurm
    from mmsa_suparc.bench.live_report import LiveReport
    from mmsa_suparc.cli.display import Display

    out = Path(options.out).expanduser()
    display = Display(jobs, options.verbose, retry_failed=options.retry_failed)
    behind = any(job.done for job in jobs)
    live = LiveReport(out, behind=behind, with_reported=options.reference, say=display.say)

    def on_end(outcome: execute.Outcome) -> None:
        display.end(outcome)
        live.ended(outcome)

    started: dict[str, Any] = {"on_start": display.start, "on_end": on_end}
    try:
        with live, display:
            if options.executor == "ray":
                wanted = ray_cluster.Wanted(options.cpus, options.gpus, options.send_limit)
                ray_cluster.execute_with_ray(
                    jobs, address=options.address, wanted=wanted,
                    retry_failed=options.retry_failed, on_note=display.note, **started,
                )  # fmt: skip
            elif options.executor == "slurm":
                slurm.execute_with_slurm(
                    jobs, folder=out / "slurm", options=of_slurm,
                    parallelism=options.array_parallelism, retry_failed=options.retry_failed,
                    cancel_on_stop=options.cancel_on_stop, say=display.say, **started,
                )  # fmt: skip
            else:
                gpus = devices.visible() if device == "cuda" else ()
                if options.jobs is None:
                    options.jobs, why = devices.suggested_jobs(
                        gpus, options.jobs_per_gpu, execute.cores()
                    )
                    display.say(f"--jobs auto: {options.jobs} ({why})")
                execute.execute(
                    jobs, at_once=options.jobs, devices=gpus, jobs_per_gpu=options.jobs_per_gpu,
                    retry_failed=options.retry_failed, **started,
                )  # fmt: skip
    except KeyboardInterrupt:
        raise StoppedError("stopped; the same command goes on") from None


def _print_power(difference: float, asked: Any, out: Path) -> int:
    if not any(job.done for job in asked.jobs):
        raise UserError(f"--power: nothing is finished in {out}; run the benchmark first")

    from mmsa_suparc.bench.power import power_table
    from mmsa_suparc.bench.results import Results
    from mmsa_suparc.cli.console import console

    results = Results.collect(asked.plan, [job.folder for job in asked.jobs])
    for dataset in asked.plan.datasets:
        table = power_table(results, dataset, difference)
        print_columns(console(), table, range(len(table.head)))
        print(*table.notes, sep="\n")
    return 0


def _planned(asked: Any) -> list[dict[str, Any]]:
    """A row a cell: where it lies, and what it will take."""
    from mmsa_suparc.bench import cells, execute

    known = execute.known_seconds(asked.jobs)
    guesses: dict[tuple[str, str], float] = {}
    sizes: dict[tuple[str, str], int] = {}
    rows, to_do = [], set()
    for cell, job in zip(asked.plan.cells, asked.jobs, strict=True):
        row = {
            "cell": job.folder.name, "variant": cell.variant, "model": cell.model,
            "data_set": cell.dataset, "seed": cell.seed,
            "fold": cell.fold and str(cell.fold), "name": cell.name, "state": "to do",
            "seconds": None, "guess": False, "model_bytes": 0,
        }  # fmt: skip
        if job.done:
            row["state"] = "done"
        elif job.folder in to_do:
            row["state"] = "the same training as above"
        else:
            to_do.add(job.folder)
            row["guess"], place = cell.model not in known, (cell.variant, cell.dataset)
            if place not in sizes:
                sizes[place] = cells.guessed_bytes(cell, asked.data_root)
            row["model_bytes"] = sizes[place] if asked.keep_models else 0
            if row["guess"] and place not in guesses:  # the same for every seed
                guesses[place] = cells.guessed_seconds(cell, asked.data_root)
            row["seconds"] = guesses[place] if row["guess"] else known[cell.model]
        rows.append(row)
    return rows


def _print_plan(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    to_do = [row["seconds"] for row in rows if row["state"] == "to do"]
    count = len({row["cell"] for row in rows})
    size = sum(row["model_bytes"] for row in rows)
    if as_json:
        totals = {"trainings": count, "to_do": len(to_do), "seconds": sum(to_do)}
        print_json({**totals, "model_bytes": size, "cells": rows})
        return
    for row in rows:
        about = row["state"]
        if about == "to do":
            about = f"≈ {row['seconds']:.0f} s{' (a guess)' if row['guess'] else ''}"
        print(f"{row['cell']}  {row['name']}  ({row['model']}): {about}")
    print(f"{count} trainings, {len(to_do)} to do, about {sum(to_do) / 60:.0f} minutes one by one")
    if size >= 1e8:
        print(f"their models take about {size / 1e9:.1f} GB; --no-models keeps none")
