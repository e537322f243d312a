"""Clips as arrays, and batches of them, trimmed to their longest member."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mmsa_suparc.model.packing import UNKNOWN, Layout, pack


class Sizes(NamedTuple):
    """What the host knows of N clips wherever they lie: batches are cut by it, and a GPU that
    holds the clips is asked nothing."""

    attended: np.ndarray  # (N, L) bool, the tokens
    audio: np.ndarray  # (N,) frames
    vision: np.ndarray  # (N,) frames

    @property
    def tokens(self) -> np.ndarray:
        """(N,) places up to the last token that is attended to."""
        places = np.arange(1, self.attended.shape[1] + 1)
        return (places * self.attended).max(axis=1, initial=0)

    def take(self, places: np.ndarray) -> Sizes:
        """Those of some of the clips."""
        return Sizes(*(part[places] for part in self))


@dataclass(frozen=True)
class Clips:
    """A split, or a batch of one.

    Shapes: text (N, 3, L) token ids, mask, segments; audio (N, T_a, D_a); vision
    (N, T_v, D_v); lengths (N,) frames that count; scores (N,) in score units; index (N,) the
    clips' places in their split, on the CPU.
    """

    text: Tensor
    audio: Tensor
    vision: Tensor
    audio_lengths: Tensor
    vision_lengths: Tensor
    scores: Tensor
    index: Tensor
    names: tuple[str, ...] = ()  # of the whole split, for messages
    encoded_text: Tensor | None = None  # (N, W), where a frozen encoder has run already
    sizes: Sizes = None  # type: ignore[assignment]  # found out where it is not given
    layout: Layout = UNKNOWN  # of a batch

    def __post_init__(self) -> None:
        if self.sizes is None:
            parts = (self.text[:, 1] > 0, self.audio_lengths, self.vision_lengths)
            object.__setattr__(self, "sizes", Sizes(*(part.cpu().numpy() for part in parts)))

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def device(self) -> torch.device:
        """Where the tensors are that a model sees."""
        return self.scores.device

    def take(self, places: Tensor, *, as_stored: bool = False) -> Clips:
        """A batch: the clips at these places, without tokens and frames that none of them uses.

        Args:
            places: (B,), on the CPU.
            as_stored: frames stay in the precision that they have here; else they are float32.
        """
        sizes = self.sizes.take(places.numpy())
        tokens = _longest(sizes.tokens)
        here = send(places, self.device)
        packing = pack(torch.from_numpy(sizes.attended[:, :tokens]))
        packing = packing.map(lambda part: send(part, self.device))
        audio = self.audio[here, : _longest(sizes.audio)]
        vision = self.vision[here, : _longest(sizes.vision)]
        return Clips(
            text=self.text[here, :, :tokens],
            audio=audio if as_stored else audio.float(),
            vision=vision if as_stored else vision.float(),
            audio_lengths=self.audio_lengths[here],
            vision_lengths=self.vision_lengths[here],
            scores=self.scores[here],
            index=self.index[places],
            names=self.names,
            encoded_text=None if self.encoded_text is None else self.encoded_text[here],
            sizes=sizes,
            layout=Layout(packing, torch.from_numpy(sizes.audio), torch.from_numpy(sizes.vision)),
        )

    def names_of(self, places: Tensor) -> list[str]:
        """The names of the clips at these places (their numbers, where the split has no names)."""
        numbers = self.index[places].tolist()
        return [self.names[each] if self.names else f"number {each}" for each in numbers]

    def map(self, move: Callable[[Tensor], Tensor]) -> Clips:
        """The same clips with every tensor that a model sees elsewhere: on a device."""
        encoded, packing = self.encoded_text, self.layout.packing
        return Clips(
            text=move(self.text),
            audio=move(self.audio),
            vision=move(self.vision),
            audio_lengths=move(self.audio_lengths),
            vision_lengths=move(self.vision_lengths),
            scores=move(self.scores),
            index=self.index,
            names=self.names,
            encoded_text=None if encoded is None else move(encoded),
            sizes=self.sizes,
            layout=self.layout._replace(packing=None if packing is None else packing.map(move)),
        )


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device; to CUDA through pinned memory, without waiting for the copy."""
    if device.type == "cuda" and not tensor.is_cuda:
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def _longest(lengths: np.ndarray) -> int:
    return max(int(lengths.max(initial=1)), 1)


#: Batches that are sorted by length together when bucketing.
POOL = 16


def batch_places(
    clips: Clips,
    batch_size: int,
    *,
    generator: torch.Generator | None = None,
    by_length: bool = False,
) -> tuple[Tensor, ...]:
    """The places of each batch's clips, every clip once.

    Args:
        clips: a split.
        batch_size: clips a batch; one may be smaller.
        generator: shuffles; without one the clips come in order.
        by_length: shuffle, sort pools of :data:`POOL` batches by their number of tokens, and
            shuffle the batches: those of a batch are then about as long, and little padding
            is computed. Only with a generator.
    """
    count = len(clips)
    if generator is None:
        return torch.arange(count).split(batch_size)
    order = torch.randperm(count, generator=generator)
    if not by_length:
        return order.split(batch_size)
    lengths = torch.from_numpy(clips.sizes.tokens)
    pools = order.split(POOL * batch_size)
    order = torch.cat([pool[lengths[pool].argsort(stable=True)] for pool in pools])
    chunks = order.split(batch_size)
    places = torch.randperm(len(chunks), generator=generator)
    return tuple(chunks[place] for place in places.tolist())


def places_by_length(clips: Clips, batch_size: int) -> tuple[Tensor, ...]:
    """The places of each batch's clips for evaluation: sorted by length, so without padding."""
    return torch.from_numpy(clips.sizes.tokens).argsort(stable=True).split(batch_size)
