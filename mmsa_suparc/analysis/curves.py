"""Training curves of a run folder."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mmsa_suparc.data.files import write_atomically


def draw_curves(run_dir: Path, title: str) -> Path:
    """Draw ``run_dir/curves.png`` from every ``seed-*/history.csv``.

    Left, the training loss and its terms; right, validation MAE and correlation. A thin line a
    seed; the dot marks the epoch that was selected.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    histories = [pd.read_csv(path) for path in sorted(run_dir.glob("seed-*/history.csv"))]
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    losses, error, correlation = figure.subplots(1, 3)
    first = histories[0]
    columns = [str(column) for column in first]
    terms = [column for column in columns if column == "loss" or column.startswith("loss_")]
    for place, term in enumerate(terms):
        for seed, history in enumerate(histories):
            label = "total" if term == "loss" else term.removeprefix("loss_")
            losses.plot(
                history["epoch"],
                history[term],
                color=f"C{place}",
                lw=1.2,
                label=label if seed == 0 else None,
            )
    if terms:
        losses.legend(frameon=False, fontsize=8)
    for axes, name, color in ((error, "valid_MAE", "C0"), (correlation, "valid_Corr", "C2")):
        for history in histories:
            axes.plot(history["epoch"], history[name], color=color, lw=1.2)
            selected = history[history["best"].astype(bool)].tail(1)
            axes.plot(selected["epoch"], selected[name], "o", color=color, ms=5)
    for axes, label in (
        (losses, "training loss"),
        (error, "validation MAE (score units)"),
        (correlation, "validation correlation"),
    ):
        axes.set_title(label, fontsize=9)
        axes.set_xlabel("epoch", fontsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    plural = "s" if len(histories) > 1 else ""
    figure.suptitle(f"{title} ({len(histories)} seed{plural})", fontsize=10)
    path = run_dir / "curves.png"
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=130))
    return path
