"""``mmsa_suparc.bench``: what ``mmsa bench`` does on this machine, with data frames at its end."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mmsa_suparc.analysis.finished import report_finished
from mmsa_suparc.announced import announce
from mmsa_suparc.api.bench_result import BenchResult, load_bench
from mmsa_suparc.api.live import bar
from mmsa_suparc.bench import benchmark, devices, execute, plan
from mmsa_suparc.bench.fold_doubts import fold_doubts
from mmsa_suparc.bench.live_report import LiveReport
from mmsa_suparc.errors import ConfigError, StoppedError, UserError
from mmsa_suparc.training.cuda import has_cuda


def compare(
    file: str | Path | Mapping[str, Any],
    *,
    out: str | Path,
    data_sets: Sequence[str] = (),
    seeds: Sequence[int] = (),
    variants: Sequence[str] = (),
    data_root: str | Path | None = None,
    text_encoder: str | Path | None = None,
    epochs: int | None = None,
    folds: int | None = None,
    pool: Sequence[str] | None = None,
    set: Mapping[str, Any] | None = None,
    jobs: int = 1,
    jobs_per_gpu: int = 1,
    retry_failed: bool = False,
    keep_models: bool | None = None,
    progress: bool = True,
) -> BenchResult:
    """Compare models: a grid of trainings, each in a process of its own, then tables and tests.

    What is finished in ``out`` is not done again; its report is kept up to date meanwhile.
    A cluster is the command's: ``mmsa bench --executor``, then :func:`mmsa_suparc.load_bench`.

    Args:
        file: a benchmark file, the name of a shipped one, or what such a file holds, as a mapping.
        out: the benchmark's folder.
        data_sets: instead of the file's.
        seeds: likewise.
        variants: train only these of the file's; the results have the finished ones of the others.
        data_root: the folder that holds ``MOSI/Processed/…``; default ``MMSA_DATA_ROOT``.
        text_encoder: a Hugging Face encoder by name or folder, for every model that uses one.
        epochs: at most so many, for all.
        folds: cross-validation by groups, instead of the file's.
        pool: the splits that it is over.
        set: values for all trainings, above the file's shared ones.
        jobs: trainings at a time, each on a GPU of its own where there are GPUs.
        jobs_per_gpu: trainings that may share a GPU.
        retry_failed: run failed trainings again.
        keep_models: whether the weights of trainings that finish from now on stay; default as the
            file says, which is yes unless it says no.
        progress: show a bar.

    Returns:
        The results; a training that failed is in :attr:`BenchResult.unfinished`.

    Raises:
        UserError: bad input; no training was started.
        StoppedError: it was stopped; the same call goes on.
    """
    announce()
    folder = Path(out).expanduser().absolute()
    device = "cuda" if has_cuda() else "cpu"
    asked = benchmark.prepare(
        _read(file), folder, device=device, data_sets=data_sets, seeds=seeds, shared=set,
        text_encoder=None if text_encoder is None else str(text_encoder), epochs=epochs,
        only=variants, folds=folds, pool=pool,
        data_root=None if data_root is None else str(data_root), keep_models=keep_models,
    )  # fmt: skip
    for doubt in fold_doubts(asked.plan, asked.data_root):
        warnings.warn(doubt, stacklevel=2)
    if asked.repeated:
        warnings.warn(asked.repeated, stacklevel=2)
    called = f"mmsa_suparc.bench({str(file) if isinstance(file, (str, Path)) else '{…}'!r})"
    kept = asked.write(folder, called)
    _execute(asked.trainings(), folder, device, jobs, jobs_per_gpu, retry_failed, progress)
    report_finished(kept, folder)
    return load_bench(folder)


def _read(file: str | Path | Mapping[str, Any]) -> plan.BenchFile:
    """A mapping goes the way of a file: the same limits, includes and messages."""
    if not isinstance(file, Mapping):
        return plan.read(plan.find_file(str(file)))
    content = dict(file)
    if content.get("include"):
        content["include"] = [str(plan.find_file(str(n)).resolve()) for n in content["include"]]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "benchmark"
        try:
            path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        except yaml.YAMLError as error:
            raise ConfigError(f"benchmark: {error.args[0]}; expected plain values") from None
        try:
            return plan.read(path, named=False)
        except UserError as error:
            raise type(error)(str(error).replace(str(path), "benchmark")) from None


def _execute(
    trainings: list[execute.Job],
    folder: Path,
    device: str,
    jobs: int,
    jobs_per_gpu: int,
    retry_failed: bool,
    progress: bool,
) -> None:
    left = [job for job in trainings if not job.done]
    shown = bar(len(left), "trainings", unit="training", shown=progress and bool(left))

    def say(line: str) -> None:
        if progress:
            shown.write(line)

    live = LiveReport(folder, behind=len(left) < len(trainings), say=say)

    def on_end(outcome: execute.Outcome) -> None:
        live.ended(outcome)
        shown.update()
        if not outcome.ok:
            say(f"{outcome.job.name}: failed ({outcome.status})")

    try:
        with live:
            execute.execute(
                trainings, at_once=jobs, devices=devices.visible() if device == "cuda" else (),
                jobs_per_gpu=jobs_per_gpu, retry_failed=retry_failed,
                on_start=lambda job: shown.set_postfix_str(job.name), on_end=on_end,
            )  # fmt: skip
    except KeyboardInterrupt:
        raise StoppedError("stopped; the same call goes on") from None
    finally:
        shown.close()
