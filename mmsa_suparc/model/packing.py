"""Where the tokens of a batch lie when no padding is between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

#: Rows are filled up to a multiple of this many: a CPU's matrix library prepares a program for each
#: size that it meets, and a batch of every size it has not met yet would wait for that.
ROWS = 32


class Packing(NamedTuple):
    """The attended tokens of B clips, one clip behind the other, in M rows.

    All sizes are known to the host, so nothing has to be asked of a GPU.
    """

    places: Tensor  # (M,) of each token in the padded batch, flattened (B·L)
    starts: Tensor  # (B + 1,) int32: clip i has the rows from starts[i] to starts[i + 1]
    # Padded within the batch, for an attention that wants it:
    slots: Tensor  # (B·N,) the row in each place, any one in those that are filled up
    filled: Tensor | None  # (B, N) bool: the places that are, if any
    back: Tensor  # (M,) the place of each row
    longest: int  # N, tokens of the longest clip
    tokens: int  # rows that hold a token; what is beyond is nobody's

    @property
    def firsts(self) -> Tensor:
        """(B,) the first row of each clip."""
        return self.starts[:-1]

    def map(self, move: Callable[[Tensor], Tensor]) -> Packing:
        """The same with every tensor elsewhere: on a device."""
        tensors: dict[str, Any] = {
            name: move(part) for name, part in self._asdict().items() if isinstance(part, Tensor)
        }
        return self._replace(**tensors)


def pack(attended: np.ndarray) -> Packing:
    """How to pack a batch.

    Args:
        attended: (B, L) bool, which tokens are. The first of each clip counts always: a clip
            without a single token (a missing modality) still needs one to attend to.
    """
    attended = attended.copy()
    attended[:, 0] = True
    counts = attended.sum(axis=1)
    starts = np.concatenate([[0], counts.cumsum()])
    tokens, longest = int(starts[-1]), int(counts.max(initial=1))
    beyond = (0, -tokens % ROWS)
    offsets = np.arange(longest)
    holds = offsets < counts[:, None]
    slots = np.where(holds, starts[:-1, None] + offsets, 0)
    return Packing(
        places=torch.from_numpy(np.pad(np.flatnonzero(attended), beyond)),
        starts=torch.from_numpy(starts.astype(np.int32)),
        slots=torch.from_numpy(slots.ravel()),
        filled=None if holds.all() else torch.from_numpy(~holds),
        back=torch.from_numpy(np.pad(np.flatnonzero(holds), beyond)),
        longest=longest,
        tokens=tokens,
    )


class Layout(NamedTuple):
    """How a batch lies in memory, as far as the host knows; what is not known is found out."""

    packing: Packing | None = None  # on the device of the batch
    audio_lengths: Tensor | None = None  # (B,), on the CPU
    vision_lengths: Tensor | None = None  # likewise


#: Of a batch of which the host knows nothing.
UNKNOWN = Layout()
