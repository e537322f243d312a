"""Figures and tables that a notebook shows, without pyplot."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

#: Dots an inch of a picture in a notebook.
DPI = 110


class Picture(Figure):
    """A matplotlib figure; a notebook shows it by itself."""

    def _repr_png_(self) -> bytes:
        content = io.BytesIO()
        self.savefig(content, format="png", dpi=DPI)
        return content.getvalue()

    def as_html(self) -> str:
        """An ``img`` element that holds the picture."""
        content = base64.b64encode(self._repr_png_()).decode()
        return f'<img alt="training curves" src="data:image/png;base64,{content}">'


@dataclass(frozen=True)
class Drawing:
    """A finished figure as SVG; a notebook shows it by itself."""

    name: str
    svg: str

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"Drawing({self.name!r}, {len(self.svg)} characters of SVG)"

    def save(self, path: str | Path) -> Path:
        """Write the SVG; returns the path."""
        target = Path(path).expanduser()
        target.write_text(self.svg, encoding="utf-8")
        return target


def table_html(frame: pd.DataFrame, *, index: bool = True) -> str:
    """A table with four decimals; what its words hold is escaped."""
    return str(frame.to_html(index=index, float_format="{:.4f}".format, na_rep="–"))
