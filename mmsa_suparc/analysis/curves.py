"""Training curves of a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from mmsa_suparc.analysis.style import GRAY, LEGEND, term_looks
from mmsa_suparc.data.files import write_atomically
from mmsa_suparc.runs.folder import RunFolder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Columns of history.csv that get a panel, with its title.
PANELS = {
    "valid_MAE": "validation MAE (score units)",
    "valid_Corr": "validation correlation",
}
#: Room for a term in the legend.
INCHES_OF_TERM = 1.6


def draw_curves(run_dir: Path, title: str) -> Path | None:
    """Draw ``run_dir/curves.png`` from every ``seed-*/history.csv``.

    Returns:
        The picture's path, or None where no seed has a history.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    folder = RunFolder(run_dir)
    histories = folder.histories()
    if not histories:
        return None
    figure = Figure()
    FigureCanvasAgg(figure)
    draw_on(figure, histories, title)
    write_atomically(folder.curves, lambda file: figure.savefig(file, format="png", dpi=130))
    return folder.curves


def draw_on(figure: Figure, histories: Sequence[pd.DataFrame], title: str) -> None:
    """Draw the curves of a run on an empty figure, whose size becomes theirs.

    Left, the terms of the training loss, before their weights, a stroke and a colour each, and its
    weighted total, black and whole; then validation MAE and correlation. A thin line a seed; the
    dot marks the epoch that is kept. What a trainer does not tell has no panel.

    Args:
        figure: without anything on it.
        histories: a row an epoch, of each seed; one at least.
        title: above the panels; the number of seeds is added.
    """
    from matplotlib.ticker import MaxNLocator

    columns = [str(column) for column in histories[0]]
    terms = [column for column in columns if column == "loss" or column.startswith("loss_")]
    panels = [column for column in PANELS if column in columns]
    count = max(1, bool(terms) + len(panels))
    figure.set_size_inches(1 + 2.7 * count, 3.6 if terms else 3.2)
    figure.set_layout_engine("constrained")
    plural = "s" if len(histories) > 1 else ""
    dot = "; dot: the epoch that is kept" if panels else ""
    figure.suptitle(f"{title} ({len(histories)} seed{plural}{dot})", fontsize=10)
    axes = list(figure.subplots(1, count, squeeze=False)[0])
    for each, label in zip(
        axes, ["training loss"] * bool(terms) + [PANELS[name] for name in panels], strict=False
    ):
        each.set_title(label, fontsize=9)
        each.set_xlabel("epoch", fontsize=8)
        each.xaxis.set_major_locator(MaxNLocator(integer=True))
        each.tick_params(labelsize=8)
        each.spines[["top", "right"]].set_visible(False)
    if terms:
        losses = axes.pop(0)
        look = term_looks(terms)
        for term in terms:
            total = term == "loss" and len(terms) > 1
            label = "total, weighted" if total else term.removeprefix("loss_")
            for seed, history in enumerate(histories):
                losses.plot(
                    history["epoch"],
                    history[term],
                    label=label if seed == 0 else None,
                    **look[term],
                )
        figure.legend(
            *losses.get_legend_handles_labels(), loc="outside lower left", handlelength=3.5,
            ncols=min(len(terms), int(figure.get_figwidth() / INCHES_OF_TERM)), **LEGEND,
        )  # fmt: skip
    for each, name in zip(axes, panels, strict=True):
        for history in histories:
            each.plot(history["epoch"], history[name], color=GRAY, lw=1.2)
            selected = history[history["best"].astype(bool)].tail(1)
            each.plot(selected["epoch"], selected[name], "o", color=GRAY, ms=5)
