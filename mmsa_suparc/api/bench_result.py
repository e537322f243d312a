"""A finished benchmark, as what a Python user computes with."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from mmsa_suparc.analysis.finished import report_finished
from mmsa_suparc.api.pictures import Drawing, table_html
from mmsa_suparc.bench import kept_plan
from mmsa_suparc.bench.costs import COSTS
from mmsa_suparc.errors import UserError
from mmsa_suparc.plain_files import read_mapping

#: Where ``summary.json`` has the differences of a split.
DIFFERENCES = {"test": "difference", "valid": "valid_difference"}


@dataclass(frozen=True, eq=False, repr=False)
class BenchResult:
    """What a benchmark's folder says. May be pickled; frames and figures go along.

    Args:
        folder: ``--out`` of ``mmsa bench``, absolute.
        title: of the benchmark file.
        reference: the variant with which the others are compared.
        results: a row a cell, split and metric: ``variant``, ``model``, ``dataset``, ``seed``,
            ``cell`` (its folder below ``cells/``), ``status`` (``done``, ``failed``,
            ``missing``), what the training took (``trainable_parameters``, ``epoch_seconds``,
            ``train_clips_per_second``, ``valid_clips_per_second``, ``peak_process_mib``,
            ``peak_gpu_mib``), ``split``, ``metric``, ``value``.
        differences: a row a data set, split and variant: its MAE less the reference's,
            ``value`` with its interval ``low`` to ``high``, ``p`` and ``p_holm``; below 0 is
            better.
        figures: by name, as SVG.
    """

    folder: Path
    title: str
    reference: str
    results: pd.DataFrame
    differences: pd.DataFrame
    figures: Mapping[str, Drawing]

    @property
    def report(self) -> Path:
        """The page with everything."""
        return self.folder / "report.html"

    def write_report(self, *, reference: bool = False) -> Path:
        """Make the report again of all that is finished in the folder by now, as ``mmsa bench
        report DIR`` does: the page, tables and figures, ``results.csv`` and ``summary.json``.

        Trains nothing and needs neither the benchmark file nor its data. This object stays as it
        was read; :func:`load_bench` reads the folder anew.

        Args:
            reference: show the figures that the toolkit's authors report beside what is measured,
                as ``--reference``.

        Returns:
            The page's path, :attr:`report`.

        Raises:
            UserError: nothing is finished there, or cells were measured on other clips.
        """
        kept = kept_plan.read_begun(self.folder)
        return report_finished(kept, self.folder, with_reported=reference)[1]

    @property
    def unfinished(self) -> list[str]:
        """The cells that failed or did not run, in words."""
        rows = self.results[self.results["status"] != "done"]
        return [
            f"{row.variant} on {row.dataset}, seed {row.seed}: {row.status}"
            for row in rows.itertuples()
        ]

    def summary(self, split: str = "test") -> pd.DataFrame:
        """A row a data set and variant, a column a metric: the mean over the finished seeds.

        Args:
            split: ``test`` or ``valid``.
        """
        found = self.results[self.results["split"] == split]
        table = found.pivot_table(
            index=["dataset", "variant"], columns="metric", values="value", sort=False
        )
        return table.rename_axis(columns=None)

    def __repr__(self) -> str:
        done = self.results[self.results["status"] == "done"]["cell"].nunique()
        return (
            f"BenchResult({self.title!r}, {self.results['variant'].nunique()} variants, {done} "
            f"trainings done, {len(self.unfinished)} not, folder={str(self.folder)!r})"
        )

    def _repr_html_(self) -> str:
        unfinished = "".join(f"<p>{escape(line)}</p>" for line in self.unfinished)
        compared = ""
        if len(self.differences):
            compared = (
                f"<p>MAE less that of {escape(self.reference)}, below 0: better</p>"
                f"{table_html(self.differences, index=False)}"
            )
        return (
            f"<p><b>{escape(self.title or 'Benchmark')}</b>, test split, means over seeds</p>"
            f"{table_html(self.summary())}{compared}{unfinished}"
            f"<p><code>{escape(str(self.report))}</code></p>"
        )


def load_bench(path: str | Path) -> BenchResult:
    """The results of a benchmark's folder, as its report has them.

    Args:
        path: ``--out`` of ``mmsa bench``, or ``out`` of ``mmsa_suparc.bench``.

    Raises:
        UserError: no report was written there.
    """
    folder = Path(path).expanduser().absolute()
    if not (folder / "summary.json").is_file():
        raise UserError(f"{path}: no benchmark's results here; expected the --out of mmsa bench")
    summary = read_mapping(folder / "summary.json")
    return BenchResult(
        folder=folder,
        title=str(summary.get("title", "")),
        reference=str(summary.get("reference", "")),
        results=_results(folder / "results.csv"),
        differences=pd.DataFrame(_differences(summary)),
        figures={
            file.stem: Drawing(file.stem, file.read_text(encoding="utf-8"))
            for file in sorted((folder / "figures").glob("*.svg"))
        },
    )


def _results(path: Path) -> pd.DataFrame:
    """Words as they stand there: a variant may be called NA."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    for column in table.columns.intersection(["seed", "value", *COSTS]):
        table[column] = pd.to_numeric(table[column])
    return table


def _differences(summary: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for dataset, found in summary.get("datasets", {}).items():
        for split, name in DIFFERENCES.items():
            for variant, row in found["variants"].items():
                if name in row:
                    known = {
                        key: math.nan if number is None else number
                        for key, number in row[name].items()
                    }
                    yield {"dataset": dataset, "split": split, "variant": variant, **known}
