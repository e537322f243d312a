"""The words that occur in the training clips, as a small table while training."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class WordRows(nn.Module):
    """Some rows of a word table, trained in its place.

    A text encoder's table has a row for each of some 30,000 words, half of a small encoder, of
    which a training sees a tenth. Their gradient and their moments would be zero, yet be filled,
    added and written at every step.

    The table stays the one that is saved and loaded: states hold it with these rows written back,
    and nothing of this module. A row that no training clip needs stays as it was; with the whole
    table its weight decay would shrink it, by the factor 1 − learning rate · decay a step (5e-8
    with the usual numbers, less than float32 can resolve).

    Args:
        table: (V, W); frozen until :meth:`give_back`.
        ids: the words that occur, any shape.
    """

    places: Tensor  # (V,): the row of each word, −1 for one that does not occur
    words: Tensor  # the words that do

    def __init__(self, table: nn.Embedding, ids: Tensor) -> None:
        super().__init__()
        self._table = [table]  # in a list: not a part of this module
        words = ids.unique().long().to(table.weight.device)
        places = torch.full((len(table.weight),), -1, device=words.device)
        places[words] = torch.arange(len(words), device=words.device)
        self.register_buffer("words", words, persistent=False)
        self.register_buffer("places", places, persistent=False)
        pad = table.padding_idx
        # Which has no gradient in the table either.
        self._padding = None if pad is None or int(places[pad]) < 0 else int(places[pad])
        self.rows = nn.Parameter(table.weight.detach()[words])
        table.weight.requires_grad_(False)

    def forward(self, ids: Tensor) -> Tensor:
        """(M,) ids of words that occur -> (M, W)."""
        return functional.embedding(self.places[ids], self.rows, self._padding)

    @torch.no_grad()
    def write_back(self) -> None:
        """Bring the table up to date."""
        self._table[0].weight.index_copy_(0, self.words, self.rows)

    def give_back(self) -> None:
        """The last thing: the table is up to date, and trained itself again."""
        self.write_back()
        self._table[0].weight.requires_grad_(True)

    def _save_to_state_dict(self, *args: Any, **options: Any) -> None:
        self.write_back()

    @torch.no_grad()
    def _load_from_state_dict(self, *args: Any, **options: Any) -> None:
        self.rows.copy_(self._table[0].weight[self.words])
