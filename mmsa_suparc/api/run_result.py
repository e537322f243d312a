"""A finished run, as what a Python user computes with."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from mmsa_suparc.analysis.curves import draw_on
from mmsa_suparc.api.pictures import Picture, table_html
from mmsa_suparc.bench.statistics import interval
from mmsa_suparc.errors import UserError
from mmsa_suparc.names import METRICS
from mmsa_suparc.runs.folder import RunFolder
from mmsa_suparc.serving.any_model import RunPredictor, load_predictor
from mmsa_suparc.serving.prediction import Classes, scores_table
from mmsa_suparc.serving.predictor import SupArcPredictor


@dataclass(frozen=True, eq=False, repr=False)
class RunResult:
    """What a run folder holds of its finished seeds. May be pickled; the frames go along.

    Args:
        folder: the run folder, absolute.
        model: the model's name.
        dataset: the data set's name.
        metrics: a row a seed and split (``valid``, ``test``): ``seed``, ``split``, then a column
            a metric, the toolkit's raw values.
        history: a row a seed and epoch: ``seed``, ``epoch``, loss terms, validation metrics
            (``valid_…``), seconds, and whether it was the ``best`` so far.
        predictions: a row a seed and clip of validation and test: ``seed``, ``split``, ``id``,
            ``label`` and ``prediction`` in score units.
    """

    folder: Path
    model: str
    dataset: str
    metrics: pd.DataFrame
    history: pd.DataFrame
    predictions: pd.DataFrame

    @property
    def seeds(self) -> list[int]:
        """The finished ones, in the order in which they are in :attr:`metrics`."""
        return [int(seed) for seed in self.metrics["seed"].unique()]

    def summary(self, split: str = "test") -> pd.DataFrame:
        """A row a metric: ``mean``, ``sd``, and the 95% interval of the mean over seeds by
        Student's t, ``low`` and ``high`` (NaN with one seed), and ``better``.

        Args:
            split: ``test`` or ``valid``.
        """
        found = self.metrics[self.metrics["split"] == split].drop(columns=["seed", "split"])
        rows = {
            name: {
                "mean": values.mean(),
                "sd": values.std(ddof=1),
                **dict(zip(("low", "high"), interval(values.to_list()), strict=True)),
                "better": METRICS[name].better if name in METRICS else "",
            }
            for name, values in found.items()
        }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("metric")

    def predictor(self, seed: int | None = None, **options: Any) -> SupArcPredictor | RunPredictor:
        """The trained model of a seed, to be asked, whichever model it is: ``predict``,
        ``predict_many``, ``predict_over_time``, ``predict_file``.

        Args:
            seed: by default the one with the best validation MAE.
            options: of :meth:`SupArcPredictor.from_run`: ``device``, ``classes`` …

        Returns:
            A :class:`SupArcPredictor`, or for any other model a :class:`RunPredictor`.
        """
        return load_predictor(self.folder, seed=seed, **options)

    def predict_file(
        self,
        features: str | Path,
        *,
        seed: int | None = None,
        device: str = "cpu",
        classes: Classes | None = None,
    ) -> pd.DataFrame:
        """Score all clips of a feature file, with this run's model whichever it is.

        Args:
            features: a file of the form that the run was trained on.
            seed: by default the one with the best validation MAE.
            device: where the model computes.
            classes: 2, 3, 5 or 7: labels with the bins of the metrics.

        Returns:
            A row a clip: ``clip`` (``SPLIT/ID``) and the fields of a prediction. Without a
            modality a model that knows no masks is given zeros, which ``warnings`` says.

        Raises:
            UserError: a file that does not fit the model.
        """
        asked = self.predictor(seed, device=device, classes=classes)
        names, found = asked.predict_file(features)
        return pd.DataFrame(scores_table(names, found))

    def plot(self) -> Picture:
        """Losses, validation error and correlation by epoch, a line a seed."""
        picture = Picture()
        histories = [history for _, history in self.history.groupby("seed", sort=False)]
        draw_on(picture, histories, f"{self.model} on {self.dataset}")
        return picture

    def __repr__(self) -> str:
        shown = self.summary()["mean"].reindex(["MAE", "Corr"]).dropna()
        means = ", ".join(f"{name} {value:.4f}" for name, value in shown.items())
        count = len(self.seeds)
        return (
            f"RunResult({self.model} on {self.dataset}, {count} seed{'s' if count > 1 else ''}, "
            f"test {means}, folder={str(self.folder)!r})"
        )

    def _repr_html_(self) -> str:
        seeds = ", ".join(map(str, self.seeds))
        return (
            f"<p><b>{escape(self.model)} on {escape(self.dataset)}</b>, seeds {seeds}, test split"
            f"</p>{table_html(self.summary())}"
            f"{self.plot().as_html()}<p><code>{escape(str(self.folder))}</code></p>"
        )


def load_run(path: str | Path) -> RunResult:
    """The finished seeds of a run folder, of SupArc or any other model.

    Args:
        path: the ``--run-dir`` of ``mmsa run``, or ``out`` of :func:`mmsa_suparc.run`.

    Raises:
        UserError: no finished run there.
    """
    folder = RunFolder(Path(path).expanduser().absolute())
    records = {record["seed"]: record for record in folder.records()}
    if not records:
        raise UserError(f"{path}: no finished run here; expected the --run-dir of mmsa run")
    metrics = pd.DataFrame(
        {"seed": seed, "split": split, **record["metrics"][split]}
        for seed, record in records.items()
        for split in ("valid", "test")
    )
    tables = []
    for read in ("read_history", "read_predictions"):
        found = [(seed, getattr(folder.seed(seed), read)()) for seed in records]
        tables.append(
            pd.concat(
                [table.assign(seed=seed)[["seed", *table]] for seed, table in found],
                ignore_index=True,
            )
        )
    first = next(iter(records.values()))
    return RunResult(folder.path, first["model"], first["dataset"], metrics, *tables)
