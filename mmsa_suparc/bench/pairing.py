"""Clips of two tables are the same where their ids are; their places in a file say nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mmsa_suparc.errors import UserError
from mmsa_suparc.losses.pairs import TOLERANCE

#: What to do about cells that were not measured on the same clips.
CURE = "what is compared must be trained on one feature file"


@dataclass(frozen=True)
class KnownClips:
    """The clips that a data set's tables are about, in one order for all of them.

    Args:
        scores: by id.
        source: whose they are, for messages.
    """

    scores: pd.Series
    source: str

    @classmethod
    def of(cls, predictions: pd.DataFrame, source: str) -> KnownClips:
        """Those of a table with id and label, in its order."""
        ids = pd.Index(predictions["id"], dtype=object)
        return cls(pd.Series(predictions["label"].to_numpy(), index=ids), source)

    @property
    def labels(self) -> np.ndarray:
        """(N,) scores."""
        return self.scores.to_numpy()

    def places(self, ids: pd.Series | list[str], found_in: str) -> np.ndarray:
        """Where each of the clips (N,) is among ids that stand in any order.

        Raises:
            UserError: an id that only one side has, or one side has twice.
        """
        ours, theirs = self.scores.index, pd.Index(ids, dtype=object)
        for index, where in ((ours, self.source), (theirs, found_in)):
            if not index.is_unique:
                twice = index[index.duplicated()][0]
                raise UserError(f"clip '{twice}' is twice in {where}; expected a name a clip")
        places: np.ndarray = theirs.get_indexer(ours)
        for alone, where, other in (
            (ours[places < 0], self.source, found_in),
            (theirs[~theirs.isin(ours)], found_in, self.source),
        ):
            if len(alone):
                raise UserError(f"clip '{alone[0]}' is in {where} and not in {other}; {CURE}")
        return places

    def predictions(self, table: pd.DataFrame, found_in: str) -> np.ndarray:
        """The clips' predictions (N,) out of a table with id, label and prediction.

        Raises:
            UserError: other clips, or other scores of them.
        """
        table = table.iloc[self.places(table["id"], found_in)]
        ours, theirs = self.labels, table["label"].to_numpy()
        apart = np.flatnonzero(~(np.abs(ours - theirs) <= TOLERANCE))
        if len(apart):
            clip = apart[0]
            raise UserError(
                f"clip '{self.scores.index[clip]}' has the score {ours[clip]:g} in {self.source} "
                f"and {theirs[clip]:g} in {found_in}; {CURE}"
            )
        return table["prediction"].to_numpy()
