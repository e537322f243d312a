"""Clips as arrays, and batches of them, trimmed to their longest member."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Clips:
    """A split, or a batch of one.

    Shapes: text (N, 3, L) token ids, mask, segments; audio (N, T_a, D_a); vision
    (N, T_v, D_v); lengths (N,) frames that count; scores (N,) in score units; index (N,) the
    clips' places in their split.
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

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, index: Tensor) -> Clips:
        """The clips at these places, float32, without tokens and frames that none of them uses."""
        text = self.text[index]
        audio_lengths, vision_lengths = self.audio_lengths[index], self.vision_lengths[index]
        return Clips(
            text=text[:, :, : _longest(_token_counts(text))],
            audio=self.audio[index, : _longest(audio_lengths)].float(),
            vision=self.vision[index, : _longest(vision_lengths)].float(),
            audio_lengths=audio_lengths,
            vision_lengths=vision_lengths,
            scores=self.scores[index],
            index=self.index[index],
            names=self.names,
            encoded_text=None if self.encoded_text is None else self.encoded_text[index],
        )

    def names_of(self, chosen: Tensor) -> list[str]:
        """The names of some of these clips (their places, where the split has no names)."""
        places = self.index[chosen.cpu()].tolist()
        return [self.names[place] if self.names else f"number {place}" for place in places]

    def map(self, move: Callable[[Tensor], Tensor]) -> Clips:
        """The same clips with every tensor that a model sees elsewhere: on a device."""
        encoded = self.encoded_text
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
        )


def _token_counts(text: Tensor) -> Tensor:
    """(N, 3, L) -> (N,): places up to the last token that is attended to."""
    places = torch.arange(1, text.shape[-1] + 1)
    return (places * (text[:, 1] > 0)).amax(dim=-1)


def _longest(lengths: Tensor) -> int:
    return max(int(lengths.max()), 1) if len(lengths) else 1


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
    lengths = _token_counts(clips.text)
    pools = order.split(POOL * batch_size)
    order = torch.cat([pool[lengths[pool].argsort(stable=True)] for pool in pools])
    chunks = order.split(batch_size)
    places = torch.randperm(len(chunks), generator=generator)
    return tuple(chunks[int(place)] for place in places)


def places_by_length(clips: Clips, batch_size: int) -> tuple[Tensor, ...]:
    """The places of each batch's clips for evaluation: sorted by length, so without padding."""
    return _token_counts(clips.text).argsort(stable=True).split(batch_size)
