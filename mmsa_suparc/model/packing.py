"""Where the tokens of a batch lie when no padding is between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

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


def pack(attended: Tensor) -> Packing:
    """How to pack a batch.

    Args:
        attended: (B, L) bool on the CPU, which tokens are. The first of each clip counts always: a
            clip without a single token (a missing modality) still needs one to attend to.
    """
    attended = attended.clone()
    attended[:, 0] = True
    counts = attended.sum(dim=1)
    starts = functional.pad(counts.cumsum(dim=0), (1, 0))
    each = counts.tolist()
    tokens, longest = sum(each), max(each)
    offsets = torch.arange(longest)
    holds = offsets < counts[:, None]
    return Packing(
        places=_places_of(attended, tokens),
        starts=starts.int(),
        slots=torch.where(holds, starts[:-1, None] + offsets, 0).flatten(),
        filled=None if tokens == holds.numel() else ~holds,
        back=_places_of(holds, tokens),
        longest=longest,
        tokens=tokens,
    )


def _places_of(chosen: Tensor, count: int) -> Tensor:
    """The flat places of what is chosen, in order, filled up to a multiple of :data:`ROWS`."""
    places = (~chosen).flatten().argsort(stable=True)[:count]
    return functional.pad(places, (0, -count % ROWS))


class Layout(NamedTuple):
    """How a batch lies in memory, as far as the host knows; what is not known is found out."""

    packing: Packing | None = None  # on the device of the batch
    audio_lengths: Tensor | None = None  # (B,), on the CPU
    vision_lengths: Tensor | None = None  # likewise


#: Of a batch of which the host knows nothing.
UNKNOWN = Layout()
