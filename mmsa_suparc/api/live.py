"""What is seen of a training while it runs: a bar, and in a notebook a curve that grows."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import pandas as pd

from mmsa_suparc.analysis.curves import draw_on
from mmsa_suparc.api.pictures import Picture

#: Seconds between two drawings of the curve.
PAUSE = 1.0


def bar(total: int | None, label: str, *, unit: str, shown: bool) -> Any:
    """tqdm's bar for where this runs, a notebook or a terminal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a notebook without ipywidgets gets the plain bar
        from tqdm.auto import tqdm
    return tqdm(total=total, desc=label, unit=unit, leave=False, disable=not shown)


def notebook_drawer() -> Callable[[Picture], None] | None:
    """In a notebook, a function that puts a picture where the one before was; None elsewhere."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if getattr(shell, "kernel", None) is None:
        return None
    from IPython.display import display

    handle = display({"text/plain": ""}, raw=True, display_id=True)
    return handle.update


class Live:
    """Told of every seed and epoch of a run; a context manager.

    Args:
        title: of the curve.
        seeds: how many.
        epochs: of each, at most, if known.
        shown: whether to show anything.
        draw: where the curve is shown; by default in a notebook only.
    """

    def __init__(
        self,
        title: str,
        *,
        seeds: int,
        epochs: int | None,
        shown: bool = True,
        draw: Callable[[Picture], None] | None = None,
    ) -> None:
        self._title, self._epochs = title, epochs
        self._draw = draw or (notebook_drawer() if shown else None)
        self._bar = bar(epochs and epochs * seeds, title, unit="epoch", shown=shown)
        self._histories: list[list[dict[str, Any]]] = []
        self._drawn = 0.0
        self._seed = 0

    def __enter__(self) -> Live:
        return self

    def __exit__(self, *error: object) -> None:
        self._redraw()
        self._bar.close()

    def on_seed(self, seed: int) -> None:
        """A training begins."""
        if self._epochs:  # the one before may have stopped early
            self._bar.update(len(self._histories) * self._epochs - self._bar.n)
        self._seed = seed
        self._histories.append([])

    def on_epoch(self, row: dict[str, Any]) -> None:
        """An epoch has ended: its row of ``history.csv``."""
        self._histories[-1].append(row)
        error = row.get("valid_MAE", row.get("valid_Loss", float("nan")))
        self._bar.set_postfix_str(f"seed {self._seed}, validation MAE {error:.4f}", refresh=False)
        self._bar.update()
        if time.monotonic() - self._drawn > PAUSE:
            self._redraw()

    def _redraw(self) -> None:
        histories = [pd.DataFrame(rows) for rows in self._histories if rows]
        if self._draw is not None and histories:
            picture = Picture()
            draw_on(picture, histories, self._title)
            self._draw(picture)
            self._drawn = time.monotonic()
