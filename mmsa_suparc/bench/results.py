"""What the cells of a plan left, read back: metrics, predictions, probes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mmsa_suparc.bench.folder import CellFolder
from mmsa_suparc.bench.pairing import KnownClips
from mmsa_suparc.bench.plan import Cell, Plan
from mmsa_suparc.data.tables import read_table
from mmsa_suparc.metrics import mosi_metrics, sims_metrics
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

    def read(self, name: str) -> pd.DataFrame | None:
        """One of the cell's tables; None where it has none."""
        path = self.folder.path / name
        return read_table(path) if path.is_file() else None

    def predictions(self, split: str) -> pd.DataFrame:
        """id, label, prediction of a split, in the cell's own order."""
        table = self._seed.read_predictions()
        return table[table["split"] == split].reset_index(drop=True)


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
        """Read the cells' folders, in the order of the plan's cells."""
        found = []
        for cell, folder in zip(plan.cells, folders, strict=True):
            record = next(iter(folder.records()), None)
            found.append(CellResult(cell, folder, record, folder.failure()))
        return cls(plan, tuple(found), with_reported)

    def of(self, dataset: str, variant: str) -> list[CellResult]:
        """The finished cells of a variant, by seed."""
        return [
            result for result in self.cells
            if (result.cell.dataset, result.cell.variant) == (dataset, variant) and result.record
        ]  # fmt: skip

    def variants_of(self, dataset: str, model: str) -> list[str]:
        """The variants of a model that have a finished cell, in the order of the plan."""
        return list(
            dict.fromkeys(
                result.cell.variant for result in self.cells
                if (result.cell.dataset, result.cell.model) == (dataset, model) and result.record
            )
        )  # fmt: skip

    def tidy(self) -> pd.DataFrame:
        """A row a cell, split and metric; a cell without a result has one row."""
        return pd.DataFrame(self._rows())

    def _rows(self) -> Iterator[dict[str, Any]]:
        for result in self.cells:
            cell = result.cell
            base = {
                "variant": cell.variant, "model": cell.model, "dataset": cell.dataset,
                "seed": cell.seed, "cell": result.folder.name, "status": result.status,
            }  # fmt: skip
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

    def probed(self, result: CellResult, name: str) -> dict[tuple[str, str], np.ndarray]:
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
        them by their ids."""
        for result in self.cells:
            if result.record and result.cell.dataset == dataset:
                scores = result.predictions(split).set_index("id")["label"]
                return KnownClips(scores, result.in_words(split))
        return KnownClips(pd.Series(dtype=float), dataset)

    def labels(self, dataset: str, split: str = "test") -> np.ndarray:
        """(N,) scores, in the order of :meth:`known_clips`."""
        return self.known_clips(dataset, split).labels

    def training_mean(self, dataset: str) -> float | None:
        """The mean score of the training clips."""
        table = self.clips(dataset)
        if table is None:
            return None
        return float(table.loc[table["split"] == "train", "label"].mean())

    def clips(self, dataset: str) -> pd.DataFrame | None:
        """split, id, label of every clip, the same for all cells; None where none was kept."""
        for result in self.cells:
            if result.cell.dataset == dataset and result.record:
                table = result.read("labels.csv")
                if table is not None:
                    return table
        return None

    def control(self, dataset: str, split: str = "test") -> dict[str, float]:
        """The metrics of predicting the training mean for every clip."""
        mean = self.training_mean(dataset)
        labels = self.labels(dataset, split)
        if mean is None or not len(labels):
            return {}
        return self.measure(dataset)(np.full(len(labels), mean), labels)

    def measure(self, dataset: str) -> Callable[[np.ndarray, np.ndarray], dict[str, float]]:
        """(predictions (N,), scores (N,)) -> the metrics that the data set's cells were given."""
        return sims_metrics if "Mult_acc_3" in self.metric_names(dataset) else mosi_metrics


def mae(predictions: np.ndarray, labels: np.ndarray) -> float:
    """Mean absolute error, score units."""
    return float(np.abs(predictions - labels).mean())
