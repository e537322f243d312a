"""What the cells of a plan left, read back: metrics, predictions, probes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from mmsa_suparc.bench.costs import COSTS, costs_of
from mmsa_suparc.bench.folder import CellFolder
from mmsa_suparc.bench.pairing import KnownClips
from mmsa_suparc.bench.plan import Cell, Plan
from mmsa_suparc.data.fold import pool_in_words
from mmsa_suparc.data.groups import groups_of_ids
from mmsa_suparc.data.tables import read_table
from mmsa_suparc.errors import UserError
from mmsa_suparc.metrics import metrics_with
from mmsa_suparc.names import METRICS
from mmsa_suparc.runs.folder import RunFolder, SeedFolder

#: The control that knows no clip.
TRAINING_MEAN = "training mean"


@dataclass(frozen=True)
class CellResult:
    """A cell, its folder, and its record if it is done."""

    cell: Cell
    folder: CellFolder
    record: dict[str, Any] | None
    failure: dict[str, Any] | None

    @property
    def status(self) -> str:
        return "failed" if self.failure else "done" if self.record else "missing"

    @property
    def _seed(self) -> SeedFolder:
        return RunFolder(self.folder.path).seed(self.cell.seed)

    def in_words(self, part: str) -> str:
        """A part of it, for messages."""
        return f"'{self.cell.name}' ({part})"

    def values(self) -> dict[str, Any]:
        """All values that it was trained with, its model's own included."""
        return self._seed.read_config()

    def diagnostics(self) -> dict[str, Any] | None:
        """What its losses did; see :meth:`SeedFolder.read_diagnostics`."""
        return self._seed.read_diagnostics()

    def environment(self) -> dict[str, Any]:
        """Versions, device and threads of its training; empty where none was kept."""
        seed = self._seed
        return seed.read_environment() if (seed.path / "environment.json").is_file() else {}

    @cached_property
    def costs(self) -> dict[str, float]:
        """What its training took; NaN what is not known, all before it is done."""
        if self.record is None:
            return dict.fromkeys(COSTS, math.nan)
        seed, labels = self._seed, self.clips
        has_history = (seed.path / "history.csv").is_file()
        history = seed.read_history() if has_history else pd.DataFrame()
        clips = Counter([] if labels is None else labels["split"])
        return costs_of(self.record.get("parameters"), history, clips)

    @cached_property
    def clips(self) -> pd.DataFrame | None:
        """split, id, label of every clip; None where none was kept."""
        return self.read(self.folder.labels.name)

    def read(self, name: str) -> pd.DataFrame | None:
        """One of the cell's tables; None where it has none."""
        path = self.folder.path / name
        return read_table(path) if path.is_file() else None

    def predictions(self, split: str) -> pd.DataFrame:
        """id, label, prediction of a split, in the cell's own order."""
        table = self._seed.read_predictions()
        return table[table["split"] == split].reset_index(drop=True)

    def known_clips(self, split: str = "test") -> KnownClips:
        """A split's clips, in the cell's own order."""
        return KnownClips.of(self.predictions(split), self.in_words(split))


@dataclass(frozen=True)
class Joined:
    """All folds of a variant and seed: each clip once, predicted where it was not trained on.

    Stands where the cell of a benchmark without folds does.
    """

    folds: tuple[CellResult, ...]

    @property
    def cell(self) -> Cell:
        """The first fold's."""
        return self.folds[0].cell

    @cached_property
    def record(self) -> dict[str, Any]:
        """Metrics of the out-of-fold predictions as ``test``, means over folds as ``valid``."""
        records = [one.record["metrics"] for one in self.folds if one.record]
        table, measured = self.predictions("test"), records[0]["test"]
        found = metrics_with(measured)(table["prediction"].to_numpy(), table["label"].to_numpy())
        means = {
            name: float(np.mean([one["valid"][name] for one in records]))
            for name in records[0]["valid"]
        }
        return {"metrics": {"valid": means, "test": {n: found[n] for n in measured if n in found}}}

    def in_words(self, part: str) -> str:
        """A part of it, for messages."""
        return f"'{self.cell.variant} on {self.cell.dataset}, seed {self.cell.seed}' ({part})"

    def values(self) -> dict[str, Any]:
        """What all its folds were trained with."""
        return self.folds[0].values()

    def read(self, name: str) -> pd.DataFrame | None:
        """One of the cells' tables, one below the other; None where one of them has none."""
        tables = [table for one in self.folds if (table := one.read(name)) is not None]
        return pd.concat(tables, ignore_index=True) if len(tables) == len(self.folds) else None

    def predictions(self, split: str = "test") -> pd.DataFrame:
        """id, label, prediction of every clip, from the fold that tests it.

        Raises:
            UserError: two folds test one clip, or this is asked of another split.
        """
        if split != "test":
            raise UserError(f"{self.in_words(split)}: folds share no such split; expected test")
        return self._tested

    @cached_property
    def _tested(self) -> pd.DataFrame:
        table = pd.concat([one.predictions("test") for one in self.folds], ignore_index=True)
        twice = table["id"][table["id"].duplicated()]
        if len(twice):
            raise UserError(
                f"{self.in_words('test')}: clip '{twice.iloc[0]}' is in two folds; they were cut "
                "by other versions of scikit-learn? Start in another folder"
            )
        return table

    def known_clips(self, split: str = "test") -> KnownClips:
        """All clips, fold by fold."""
        return KnownClips.of(self.predictions(split), self.in_words(split))


@dataclass(frozen=True)
class Results:
    """Everything that a benchmark's tables and pictures are made from."""

    plan: Plan
    cells: tuple[CellResult, ...]
    #: Whether to show what is reported elsewhere beside what was measured.
    with_reported: bool = False

    @classmethod
    def collect(
        cls, plan: Plan, folders: Sequence[CellFolder], *, with_reported: bool = False
    ) -> Results:
        """Read the cells' folders, in the order of the plan's cells. One whose model is still
        being probed has no record yet."""
        found = []
        for cell, folder in zip(plan.cells, folders, strict=True):
            failure = folder.failure()
            ended = failure is not None or folder.is_done(plan.probes)
            record = next(iter(folder.records()), None) if ended else None
            found.append(CellResult(cell, folder, record, failure))
        return cls(plan, tuple(found), with_reported)

    def trained(self, dataset: str, variant: str) -> list[CellResult]:
        """The finished cells of a variant, by seed; of a cross-validation those of the first fold,
        which alone are about the same clips."""
        return [
            result for result in self._finished(dataset, variant)
            if result.cell.fold is None or result.cell.fold.number == 1
        ]  # fmt: skip

    def of(self, dataset: str, variant: str) -> Sequence[CellResult | Joined]:
        """What a variant gave, by seed: its finished cells; of a cross-validation the seeds whose
        folds are all finished, each joined."""
        if self.plan.folds is None:
            return self._finished(dataset, variant)
        return self._joined.get((dataset, variant), [])

    @cached_property
    def _joined(self) -> dict[tuple[str, str], list[Joined]]:
        """By data set and variant, the seeds whose folds are all finished."""
        folds: dict[tuple[str, str, int], list[CellResult]] = {}
        for result in self.cells:
            if result.record is not None:
                cell = result.cell
                folds.setdefault((cell.dataset, cell.variant, cell.seed), []).append(result)
        found: dict[tuple[str, str], list[Joined]] = {}
        for (dataset, variant, _), parts in folds.items():
            if len(parts) == self.plan.folds:
                found.setdefault((dataset, variant), []).append(Joined(tuple(parts)))
        return found

    def _finished(self, dataset: str, variant: str) -> list[CellResult]:
        return [
            result for result in self.cells
            if (result.cell.dataset, result.cell.variant) == (dataset, variant) and result.record
        ]  # fmt: skip

    def _first(self, dataset: str) -> CellResult | Joined | None:
        """The one whose clips all others are joined to."""
        whole = (one for variant in self.plan.variants for one in self.of(dataset, variant))
        return next(whole, None)

    def variants_of(self, dataset: str, model: str) -> list[str]:
        """The variants of a model that have a finished cell, in the order of the plan."""
        return list(
            dict.fromkeys(
                result.cell.variant for result in self.cells
                if (result.cell.dataset, result.cell.model) == (dataset, model) and result.record
            )
        )  # fmt: skip

    def tidy(self) -> pd.DataFrame:
        """A row a cell, split and metric, with the cell's :attr:`CellResult.costs`; a cell without
        a result has one row. A cross-validation has a column ``fold``."""
        return pd.DataFrame(self._rows())

    def _rows(self) -> Iterator[dict[str, Any]]:
        for result in self.cells:
            cell = result.cell
            base = {
                "variant": cell.variant, "model": cell.model, "dataset": cell.dataset,
                "seed": cell.seed, "cell": result.folder.name, "status": result.status,
            }  # fmt: skip
            if cell.fold is not None:
                base["fold"] = cell.fold.number
            base |= result.costs
            if result.record is None:
                yield {**base, "split": None, "metric": None, "value": None}
                continue
            for split, metrics in result.record["metrics"].items():
                for metric, value in metrics.items():
                    yield {**base, "split": split, "metric": metric, "value": value}

    def metric_names(self, dataset: str) -> list[str]:
        """The metrics of a data set's cells, MAE and Corr first; not ``Loss``, the MAE again."""
        for result in self.cells:
            if result.record and result.cell.dataset == dataset:
                found = [m for m in result.record["metrics"]["test"] if m in METRICS]
                first = [m for m in ("MAE", "Corr") if m in found]
                return first + [m for m in found if m not in (*first, "Loss")]
        return []

    def values(self, dataset: str, variant: str, metric: str, split: str = "test") -> list[float]:
        """A metric by seed."""
        return [r.record["metrics"][split][metric] for r in self.of(dataset, variant) if r.record]

    def out_of_fold(self) -> pd.DataFrame:
        """Each clip once a variant and seed: data set, variant, seed, fold, id, label, prediction;
        of finished cells."""
        tables = [
            result.predictions("test").assign(
                dataset=result.cell.dataset, variant=result.cell.variant, seed=result.cell.seed,
                fold=result.cell.fold.number,
            )
            for result in self.cells
            if result.record is not None and result.cell.fold is not None
        ]  # fmt: skip
        columns = ["dataset", "variant", "seed", "fold", "id", "label", "prediction"]
        return pd.concat(tables)[columns] if tables else pd.DataFrame(columns=columns)

    def predictions(
        self, dataset: str, variant: str, split: str = "test", seeds: set[int] | None = None
    ) -> np.ndarray:
        """(S, N) by seed and clip, in the order of :meth:`known_clips`; of all finished seeds or
        of these.

        Raises:
            UserError: a cell has other clips, or other scores of them.
        """
        clips = self.known_clips(dataset, split)
        return np.array(
            [
                clips.predictions(result.predictions(split), result.in_words(split))
                for result in sorted(self.of(dataset, variant), key=lambda one: one.cell.seed)
                if seeds is None or result.cell.seed in seeds
            ]
        )

    def probed(self, result: CellResult | Joined, name: str) -> dict[tuple[str, str], np.ndarray]:
        """By protocol and level, what a cell predicted (N,) for the test clips, in the order of
        :meth:`known_clips`; empty where it was not probed.

        Raises:
            UserError: it was probed on other clips.
        """
        table = result.read(f"{name}.csv")
        if table is None:
            return {}
        clips, found = self.known_clips(result.cell.dataset), {}
        for (protocol, level), part in table.groupby(["protocol", "level"], sort=False):
            places = clips.places(part["id"], result.in_words(f"{name}.csv, {protocol} {level}"))
            found[str(protocol), str(level)] = part["prediction"].to_numpy()[places]
        return found

    def seeds_of(self, dataset: str, variant: str) -> set[int]:
        """The finished ones."""
        return {result.cell.seed for result in self.of(dataset, variant)}

    def known_clips(self, dataset: str, split: str = "test") -> KnownClips:
        """A split's clips, in the order of the first finished cell: all others are joined to
        them by their ids. All clips of a cross-validation are its ``test``."""
        first = self._first(dataset)
        return first.known_clips(split) if first else KnownClips(pd.Series(dtype=float), dataset)

    def labels(self, dataset: str, split: str = "test") -> np.ndarray:
        """(N,) scores, in the order of :meth:`known_clips`."""
        return self.known_clips(dataset, split).labels

    def clips(self, dataset: str) -> pd.DataFrame | None:
        """split, id, label of every clip, the same for all cells; None where none was kept. Of a
        cross-validation the training clips are the first fold's, the test clips those of all."""
        first = self._first(dataset)
        if not isinstance(first, Joined):
            return first.clips if first else None
        tables = [one.clips for one in first.folds if one.clips is not None]
        tested = [table[table["split"] == "test"] for table in tables]
        return pd.concat([tables[0][tables[0]["split"] != "test"], *tested]) if tables else None

    def words(self, dataset: str) -> list[str] | None:
        """(N) what is said in each test clip, in the order of :meth:`known_clips`; None where no
        variant's cells kept it of all."""
        ids = self.known_clips(dataset).scores.index
        for variant in self.plan.variants:
            for result in self.of(dataset, variant):
                parts = result.folds if isinstance(result, Joined) else (result,)
                words = {k: v for one in parts for k, v in (one.folder.words() or {}).items()}
                if words.keys() >= set(ids):
                    return [words[name] for name in ids]
        return None

    def groups(self, dataset: str, split: str = "test") -> np.ndarray | None:
        """(N,) the video or speaker of each clip, in the order of :meth:`known_clips`: what
        ``labels.csv`` says, otherwise what the ids tell; None where it is not known of all."""
        ids, table = self.known_clips(dataset, split).scores.index, self.clips(dataset)
        if table is not None and "group" in table:
            said = table[table["split"] == split].drop_duplicates("id").set_index("id")["group"]
            found = said.reindex(ids).fillna("").to_numpy()
            if (found != "").all():
                return found
        return groups_of_ids(ids.tolist())

    def control(self, dataset: str, split: str = "test") -> dict[str, float]:
        """The metrics of predicting the mean score of the training clips for every clip; of a
        cross-validation that of its fold's."""
        first = self._first(dataset)
        if first is None:
            return {}
        means, labels = [], []
        for result in first.folds if isinstance(first, Joined) else (first,):
            clips, tested = result.clips, result.predictions(split)["label"]
            if clips is None:
                return {}
            mean = float(clips.loc[clips["split"] == "train", "label"].mean())
            means.append(np.full(len(tested), mean))
            labels.append(tested.to_numpy())
        return self.measure(dataset)(np.concatenate(means), np.concatenate(labels))

    def title(self, dataset: str) -> str:
        """How the main table of a cross-validation is called; empty for other benchmarks."""
        if self.plan.folds is None:
            return ""
        groups = self.groups(dataset)
        count = len(self.labels(dataset)) if groups is None else len(set(groups))
        return (
            f"{self.plan.folds}-fold cross-validation over {count} "
            f"{'clips' if groups is None else 'videos'} of {pool_in_words(self.plan.pool)}, "
            f"out-of-fold predictions, on {dataset}"
        )

    def measure(self, dataset: str) -> Callable[[np.ndarray, np.ndarray], dict[str, float]]:
        """(predictions (N,), scores (N,)) -> the metrics that the data set's cells were given."""
        return metrics_with(self.metric_names(dataset))
