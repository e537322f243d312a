"""What a run folder tells of its finished seeds, read without torch or pandas."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError, field_validator

from mmsa_suparc.config import first_of
from mmsa_suparc.data import store
from mmsa_suparc.data.store import Record
from mmsa_suparc.errors import UserError
from mmsa_suparc.plain_files import read_mapping

#: A seed's best weights, and beside them what they are of.
WEIGHTS, WEIGHTS_SIDECAR = "model.safetensors", "model.json"
#: Models that cannot score clips given by themselves, and why.
WHY_NO_CLIPS = {
    "mctn": "mctn reads a batch as one sequence, so that the score of a clip depends on those "
    "beside it; expected a feature file: --features"
}
#: Why a trained model takes no videos.
NOT_OF_VIDEOS = (
    "this model was trained on features of which nobody said how they are made; expected a run on "
    "a file of mmsa extract"
)


@dataclass(frozen=True)
class Records:
    """A run's folder, as far as its ``records.jsonl`` goes."""

    path: Path

    @property
    def name(self) -> str:
        """The folder's own."""
        return self.path.name

    def seed_path(self, number: int) -> Path:
        """The folder of a seed, finished or not."""
        return self.path / f"seed-{number}"

    def kept_no_model(self, number: int) -> bool:
        """Whether a seed's weights were written, and removed: a benchmark may keep none."""
        folder = self.seed_path(number)
        return (folder / WEIGHTS_SIDECAR).is_file() and not (folder / WEIGHTS).exists()

    def records(self) -> list[Record]:
        """One a finished seed, in the order in which they finished.

        Raises:
            UserError: names the line that is no record of a seed.
        """
        path = self.path / "records.jsonl"
        records = []
        for number, record in enumerate(store.each(path), start=1):
            try:
                SeedRecord.model_validate(record)
            except ValidationError as error:
                raise UserError(f"{path}, line {number}: {first_of(error)}") from None
            records.append(record)
        return records

    def record_of(self, seed: int) -> Record | None:
        """The newest record of a seed."""
        return {record["seed"]: record for record in self.records()}.get(seed)

    def append(self, record: Record) -> None:
        """Add a record; on disk when this returns."""
        store.append(self.path / "records.jsonl", record)

    def refuse_others(
        self, model: str, dataset: str, seeds: Sequence[int], *, resume: bool
    ) -> None:
        """A run goes into a folder without results, or one with its own.

        Args:
            model: of the run that is to be.
            dataset: likewise.
            seeds: likewise.
            resume: it may find its seeds there.

        Raises:
            UserError: the folder is a file, or holds results of another model or data set, or one
                of the seeds without ``resume``.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"--run-dir {self.path}: is a file; expected a folder")
        for record in self.records():
            if (record["model"], record["dataset"]) != (model, dataset):
                raise UserError(
                    f"--run-dir {self.path}: holds results of {record['model']} on "
                    f"{record['dataset']}; choose another folder"
                )
            if record["seed"] in seeds and not resume:
                raise UserError(
                    f"--run-dir {self.path}: already holds seed {record['seed']}; choose another "
                    "folder or seed, or keep it with --resume"
                )

    def to_serve(
        self,
        seed: int | None = None,
        *,
        any_model: bool = False,
        among: Sequence[Record] | None = None,
    ) -> Record:
        """The record of the SupArc to be asked: of a seed, or the one with the best validation MAE.

        Args:
            seed: a finished one.
            any_model: another model will do.
            among: what :meth:`records` gave, where it was read before.

        Raises:
            UserError: no finished run of SupArc here, none of that seed, or its weights are gone.
        """
        records = self.records() if among is None else among
        found = {record["seed"]: record for record in records}
        if not found:
            raise UserError(
                f"{self.path}: no finished run here; expected the --run-dir of mmsa run"
            )
        model = next(iter(found.values()))["model"]
        if model != "suparc" and not any_model:
            raise UserError(f"{self.path}: a run of '{model}'; expected one of suparc")
        if seed is None:
            best = min(found.values(), key=lambda one: one["metrics"]["valid"].get("MAE", math.inf))
            seed = int(best["seed"])
        if seed not in found:
            known = ", ".join(map(str, sorted(found)))
            raise UserError(f"{self.path}: no finished seed {seed}; it has {known}")
        if self.kept_no_model(seed):
            raise UserError(
                f"{self.seed_path(seed)}: its model was not kept (keep_models: false, --no-models);"
                f" train it again: mmsa run -m {model} -s {seed} -c {self.seed_path(seed)}/"
                f"config.yaml -d {found[seed]['dataset']}"
            )
        return found[seed]


def require_clips(model: str) -> None:
    """Refuse clips that are given by themselves, where a model cannot score such.

    Raises:
        UserError: why, and what to do.
    """
    if model in WHY_NO_CLIPS:
        raise UserError(WHY_NO_CLIPS[model])


def made_of_videos(run_dir: Path) -> bool:
    """Whether a run was trained on a file of ``mmsa extract``, so that it can be given videos; also
    where its ``serving.json`` cannot be read, which says what is wrong when the model is loaded."""
    try:
        return read_mapping(run_dir / "serving.json").get("features") != {}
    except UserError:
        return True


class _Metrics(BaseModel):
    valid: dict[str, float]
    test: dict[str, float]


class SeedRecord(BaseModel):
    """What a record of a finished seed holds."""

    model: str
    dataset: str
    seed: Annotated[int, Field(strict=True, ge=0)]
    metrics: _Metrics
    weights: str
    #: How many were trained; older versions did not say.
    parameters: Annotated[int, Field(strict=True, ge=0)] | None = None
    identity: dict[str, Any]


class Diagnostics(BaseModel):
    """What ``training.diagnosis`` tells of a seed."""

    clips: int
    batch: int
    pairs: dict[str, float | None] | None
    norms: dict[str, float]
    cosines: dict[str, float | None]
    warnings: list[str]

    @field_validator("norms")
    @classmethod
    def _with_the_mae(cls, norms: dict[str, float]) -> dict[str, float]:
        if "mae" not in norms:
            raise ValueError("expected that of 'mae'")
        return norms
