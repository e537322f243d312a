"""Clips whose modalities contradict each other, and what each modality contributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mmsa_suparc.analysis.chosen import unseen
from mmsa_suparc.analysis.section import Section
from mmsa_suparc.analysis.style import (
    GRAY,
    HATCHES,
    LEGEND,
    LIGHT_GRAY,
    OF_MODALITY,
    axes,
    height_of_rows,
    name_rows,
)
from mmsa_suparc.bench.comparisons import error_of
from mmsa_suparc.bench.results import Results
from mmsa_suparc.bench.tables import Entry, Table, number, rank
from mmsa_suparc.names import MODALITIES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Where a legend stands that covers no bar.
ABOVE: dict[str, Any] = {**LEGEND, "loc": "lower center", "bbox_to_anchor": (0.5, 1.0)}
#: The subset that lacks a modality, by its first letter.
WITHOUT = {"text": "av", "audio": "tv", "vision": "ta"}


def section(results: Results, dataset: str) -> Section | None:
    """There where cells were probed for missing modalities."""
    probed = {
        variant: tables
        for variant in results.plan.variants
        if (tables := _by_subset(results, dataset, variant))
    }
    if not probed:
        return None
    labels, error = results.labels(dataset), error_of(results, dataset)
    judge = results.plan.reference if results.plan.reference in probed else next(iter(probed))
    alone = annotated(results, dataset)  # (3, N)
    source = "annotated scores of the modalities"
    if alone is None:
        alone = np.stack([probed[judge][m[0]].mean(axis=0) for m in MODALITIES])
        source = f"predictions from one modality alone (by '{judge}', the other two masked)"
    spread = alone.max(axis=0) - alone.min(axis=0)
    contradicts = spread >= np.quantile(spread, 0.75)
    table = Table(
        f"{dataset}-conflict", f"Contradicting clips and contributions on {dataset}",
        ["variant", "MAE, contradicting", "MAE, others", *(f"share of {m}" for m in MODALITIES)],
        notes=[
            f"Contradicting: the quarter of the clips whose {source} lie furthest apart. Share: "
            "mean absolute change of the prediction when the modality is masked, the three adding "
            "up to 1. Means over seeds.",
        ],
    )  # fmt: skip
    shares_of = {}
    for variant, subsets in probed.items():
        whole = subsets["tav"]
        change = np.array([np.abs(whole - subsets[WITHOUT[m]]).mean() for m in MODALITIES])
        shares = (change / change.sum() if change.sum() else change).tolist()
        shares_of[variant] = shares
        table.rows.append(
            [
                Entry(variant),
                *(number(float(np.mean([error(one[here], labels[here]) for one in whole])))
                  for here in (contradicts, ~contradicts)),
                *map(number, shares),
            ]
        )  # fmt: skip
    errors = {row[0].text: (row[1].number, row[2].number) for row in table.rows}
    rank(table, [1, 2], ["MAE", "MAE"])
    found = Section(
        f"Contradiction and importance on {dataset}",
        "Where the modalities of a clip say different things, and how much of a prediction hangs "
        "on each. Taken from the predictions with modalities masked (P1).",
        [table],
    )
    found.draw(
        f"{dataset}-conflict",
        bars(errors, shares_of, unseen(results)),
        f"Left: {unseen(results)} MAE on {dataset} of the quarter of clips whose modalities "
        "contradict each other most, and of the others; lower is better. Right: how much of the "
        "prediction hangs on each modality. Means over seeds.",
    )
    return found


def bars(
    errors: Mapping[str, tuple[float, float]],
    shares_of: Mapping[str, Sequence[float]],
    measured: str = "test",
) -> Figure:
    """A row a variant, the first on top: MAE of contradicting and other clips, and the shares of
    text, audio and vision.

    Args:
        measured: how these clips are called.
    """
    from matplotlib.patches import Patch

    figure, (left, right) = axes(2, height=height_of_rows(list(errors), 0.4) + 1.8, share_rows=True)
    for place, (variant, pair) in enumerate(errors.items()):
        left.barh([place - 0.2, place + 0.2], pair, height=0.38, color=[GRAY, LIGHT_GRAY])
        start = 0.0
        for share, name in zip(shares_of[variant], MODALITIES, strict=True):
            right.barh(place, share, left=start, height=0.6, **_area(name))
            start += share
    name_rows(left, list(errors))
    left.set_xlabel(f"{measured} MAE (score units)\n← lower is better")
    right.set_xlabel("share of the prediction's change")
    left.legend(
        handles=[Patch(color=GRAY, label="contradicting"), Patch(color=LIGHT_GRAY, label="others")],
        **ABOVE,
        ncols=2,
    )
    right.legend(
        handles=[Patch(**_area(name), label=name) for name in MODALITIES],
        **ABOVE,
        ncols=3,
    )
    return figure


def _area(modality: str) -> dict[str, Any]:
    return {
        "facecolor": OF_MODALITY[modality], "edgecolor": "white", "hatch": HATCHES[modality]
    }  # fmt: skip


def annotated(results: Results, dataset: str) -> np.ndarray | None:
    """(3, N) scores of the test clips by modality, where the data set has them (CH-SIMS)."""
    table = results.clips(dataset)
    columns = [f"label_{name}" for name in MODALITIES]
    if table is None or not set(columns) <= set(table.columns):
        return None
    table = table[table["split"] == "test"]
    places = results.known_clips(dataset).places(table["id"], "labels.csv")
    return table.iloc[places][columns].to_numpy().T


def _by_subset(results: Results, dataset: str, variant: str) -> dict[str, np.ndarray]:
    """Predictions (S, N) by modalities kept."""
    found: dict[str, list[np.ndarray]] = {}
    for result in results.of(dataset, variant):
        for (protocol, level), predictions in results.probed(result, "missing").items():
            if protocol == "P1":
                found.setdefault(level, []).append(predictions)
    return {level: np.stack(predictions) for level, predictions in found.items()}
