"""A benchmark as it was asked for: its plan, where each cell lies, and which are done already.

Goes without torch and the toolkit, as a plan does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mmsa_suparc.bench import cells
from mmsa_suparc.bench.execute import Job
from mmsa_suparc.bench.folder import CellFolder
from mmsa_suparc.bench.kept_plan import KeptPlan
from mmsa_suparc.bench.plan import BenchFile, Plan, make_plan
from mmsa_suparc.data import reader
from mmsa_suparc.errors import UserError


@dataclass(frozen=True)
class Benchmark:
    """Cells with their folders; see :func:`prepare`.

    Args:
        plan: what was asked for.
        identities: of the plan's cells, in their order.
        jobs: likewise.
        data_root: as in ``mmsa run``.
        keep_models: whether the weights of cells that are finished from now on stay.
        whole: the same with all variants, where only some were asked for.
    """

    plan: Plan
    identities: Sequence[dict[str, Any]]
    jobs: Sequence[Job]
    data_root: str | None = None
    keep_models: bool = True
    whole: Callable[[], Benchmark] | None = None

    def trainings(self) -> list[Job]:
        """What there is to run, each once: variants that come to the same values share one."""
        return list({job.folder: job for job in self.jobs}.values())

    @property
    def repeated(self) -> str:
        """Which trainings are done once more, in words; empty where none is."""
        again = [job for job in self.trainings() if not job.done and job.folder.lacks_model()]
        if not again:
            return ""
        return (
            f"trained again: {len(again)} finished trainings that kept no model, since a probe "
            "was added"
        )

    def write(self, out: Path, command: str) -> KeptPlan:
        """Tell the cells that are not done what they have to do, and the benchmark's folder what
        its report is of: these cells, and of the file's other variants what is finished.

        Other variants that cannot even be planned here, as with a model that is not installed,
        are left out.

        Args:
            out: the benchmark's folder.
            command: that trains them, for the report.
        """
        for cell, what, job in zip(self.plan.cells, self.identities, self.jobs, strict=True):
            if not job.done:
                cells.write_spec(
                    job.folder, cell, what, self.plan.probes, self.data_root,
                    keep_model=self.keep_models,
                )  # fmt: skip
        whole = self
        if self.whole is not None:
            with contextlib.suppress(UserError):
                whole = self.whole()
        folders = tuple(job.folder.name for job in whole.jobs)
        kept = KeptPlan(whole.plan, folders, tuple(self.plan.variants), command)
        kept.write(out)
        return kept


def prepare(
    file: BenchFile,
    out: Path,
    *,
    device: str,
    data_sets: Sequence[str] = (),
    seeds: Sequence[int] = (),
    shared: Mapping[str, Any] | None = None,
    text_encoder: str | None = None,
    epochs: int | None = None,
    only: Sequence[str] = (),
    folds: int | None = None,
    pool: Sequence[str] | None = None,
    data_root: str | None = None,
    keep_models: bool | None = None,
) -> Benchmark:
    """Every check of a benchmark, before a file is written.

    Args:
        file: what is compared.
        out: the benchmark's folder.
        device: the kind of the device that the cells will find.
        data_sets: instead of the file's.
        seeds: likewise.
        shared: values above the file's shared ones.
        text_encoder: of every model that uses one, above ``shared``.
        epochs: at most so many, likewise.
        only: the variants to take; all by default.
        folds: of a cross-validation, instead of the file's.
        pool: the splits that it is over, likewise.
        data_root: as in ``mmsa run``.
        keep_models: instead of the file's word.

    Raises:
        UserError: a cell that cannot run, named; nothing to run.
    """
    datasets = list(data_sets) or file.data_sets
    above = {"pretrained": text_encoder, "epochs": epochs}
    shared = {**(shared or {}), **{key: said for key, said in above.items() if said is not None}}
    models = {name: cells.models_that_run(name) for name in datasets} if file.all_models else {}
    plan = make_plan(
        file, models_for=models, data_sets=datasets, seeds=list(seeds), shared=shared,
        only=list(only), folds=folds, pool=None if pool is None else list(pool),
    )  # fmt: skip
    with reader.reading_once():
        identities = cells.identities_of(plan.cells, data_root, device=device)
    jobs = []
    for cell, what in zip(plan.cells, identities, strict=True):
        folder = CellFolder(out / "cells" / cells.address(what))
        done = folder.is_done(plan.probes)
        jobs.append(Job(cell.name, folder, done, folder.failure() is not None))
    whole = partial(
        prepare, file, out, device=device, data_sets=data_sets, seeds=seeds, shared=shared,
        folds=folds, pool=pool, data_root=data_root,
    )  # fmt: skip
    keep = file.keep_models if keep_models is None else keep_models
    return Benchmark(plan, identities, jobs, data_root, keep, whole if only else None)
