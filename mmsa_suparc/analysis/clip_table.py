"""A row a clip: on the page to search and sort, and as a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

#: Rows that stand in the page without JavaScript.
WORST = 20
#: Characters of a clip's words on the page; the file has them all.
LONGEST = 300


@dataclass
class ClipTable:
    """Clips under the names of their columns, the worst first.

    Args:
        name: of its file.
        title: what it shows.
        frame: a row a clip; the file's content.
        shown: those of its columns that have room on the page, texts before numbers.
        texts: how many of these are texts.
        by: the column that it is sorted by, the largest first.
        notes: how it is to be read.
    """

    name: str
    title: str
    frame: pd.DataFrame
    shown: list[str]
    texts: int
    by: str
    notes: list[str] = field(default_factory=list)

    @cached_property
    def rows(self) -> list[list[Any]]:
        """What the page shows, to three places."""
        frame = self.frame[self.shown].sort_values(self.by, ascending=False, kind="stable")
        return [
            [*(_cut(text) for text in row[: self.texts]), *(round(n, 3) for n in row[self.texts :])]
            for row in frame.values.tolist()
        ]

    @property
    def worst(self) -> list[list[Any]]:
        """The first of :attr:`rows`."""
        return self.rows[:WORST]

    @property
    def csv(self) -> str:
        """All columns, numbers to six places."""
        return self.frame.round(6).to_csv(index=False)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"
