"""Loaders of batches for the toolkit's models, in which no clip is alone.

Batch normalisation has no variance over one clip, MISA's moments have none either, and EF_LSTM and
MMIM squeeze a batch of one away.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import BatchSampler, DataLoader, Sampler


class NoneAlone(BatchSampler):
    """Batches in the sampler's order; a last one of one clip is joined to the one before."""

    def __init__(self, sampler: Sampler[int], batch_size: int) -> None:
        super().__init__(sampler, batch_size, drop_last=False)

    def __iter__(self) -> Iterator[list[int]]:
        before: list[int] = []
        for batch in super().__iter__():
            if before and len(batch) == 1 < self.batch_size:
                batch = before + batch
            elif before:
                yield before
            before = batch
        if before:
            yield before

    def __len__(self) -> int:
        count, left = divmod(len(self.sampler), self.batch_size)  # type: ignore[arg-type]
        return count + (left > (1 if count else 0))


def make_loader(
    dataset: Any, sampler: Sampler[int], *, batch_size: int, **options: Any
) -> DataLoader:
    """A loader of a data set's clips in the sampler's order."""
    return DataLoader(dataset, batch_sampler=NoneAlone(sampler, batch_size), **options)


def batch_size_of(loader: DataLoader) -> int:
    """What it was asked for; ``DataLoader.batch_size`` is None beside a sampler of batches."""
    size: int = loader.batch_sampler.batch_size  # type: ignore[union-attr]
    return size


def has_only_lone_clips(loader: DataLoader) -> bool:
    """Whether its batches have one clip each: there is one, or they were asked for."""
    return min(len(loader.dataset), batch_size_of(loader)) == 1  # type: ignore[arg-type]
