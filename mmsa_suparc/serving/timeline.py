"""The score of a video over time: its windows scored one by one, as a table and a picture."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mmsa_suparc.data.files import write_atomically, write_text
from mmsa_suparc.errors import UserError
from mmsa_suparc.videos.fet import ClipFeatures

#: Windows of a clip, at most.
MOST_WINDOWS = 10_000


def windows(clip: ClipFeatures, every: float) -> list[tuple[float, float, ClipFeatures]]:
    """(start, end, features) of windows of ``every`` seconds; the last one may be shorter.

    Frames are dealt out by their share of the clip's length. A window without frames of a modality
    lacks it.

    Raises:
        UserError: not a positive number of seconds, or too many windows.
    """
    if not every > 0 or clip.seconds / every > MOST_WINDOWS:
        raise UserError(
            f"windows of {every:g} s in a clip of {clip.seconds:g} s; expected a number > 0 and at "
            f"most {MOST_WINDOWS:,} windows"
        )
    found = []
    for place in range(max(1, math.ceil(clip.seconds / every - 1e-6))):
        start, end = place * every, min((place + 1) * every, clip.seconds)
        audio, vision = (_part(f, start, end, clip.seconds) for f in (clip.audio, clip.vision))
        found.append((start, end, ClipFeatures(audio, vision, (), end - start)))
    return found


def _part(frames: np.ndarray | None, start: float, end: float, seconds: float) -> np.ndarray | None:
    """The frames (T, D) between two moments of a clip."""
    if frames is None or not seconds > 0:
        return frames
    first, last = (int(moment / seconds * len(frames) + 1e-6) for moment in (start, end))
    return frames[first:last] if last > first else None


def write(table: pd.DataFrame, path: Path, score_range: tuple[float, float]) -> Path:
    """Write the table as CSV, and the curve beside it as PNG; returns the picture's path."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    write_text(path, table.to_csv(index=False))
    figure = Figure(figsize=(7.0, 2.8), layout="constrained")
    FigureCanvasAgg(figure)
    draw_on(figure, table, score_range)
    picture = path.with_suffix(".png")
    write_atomically(picture, lambda file: figure.savefig(file, format="png", dpi=130))
    return picture


def draw_on(figure: Any, table: pd.DataFrame, score_range: tuple[float, float]) -> None:
    """A step a window on an empty figure; gaps where a window has no score."""
    plot = figure.subplots()
    edges = [*table["start"], table["end"].iloc[-1]]
    plot.stairs(table["score"], edges, baseline=None, color="C0", linewidth=1.6)
    plot.axhline(sum(score_range) / 2, color="gray", linewidth=0.8)
    plot.set_xlim(edges[0], edges[-1])
    plot.set_ylim(*score_range)
    plot.set_xlabel("time (s)")
    plot.set_ylabel(f"score ({score_range[0]:g} negative, {score_range[1]:g} positive)", fontsize=8)
    plot.spines[["top", "right"]].set_visible(False)
