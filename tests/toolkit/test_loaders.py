"""Batches of the toolkit's loaders: those of PyTorch, but that no clip is alone beside others."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader, SequentialSampler

from mmsa_suparc.toolkit.loaders import batch_size_of, make_loader


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("workers", [0, 1])
def test_only_a_last_batch_of_one_is_joined(size: int, workers: int) -> None:
    for count in range(1, 11 if not workers else 6):
        clips = list(range(count))
        theirs = [batch.tolist() for batch in DataLoader(clips, batch_size=size)]
        if size > 1 and len(theirs) > 1 and len(theirs[-1]) == 1:
            theirs[-2:] = [theirs[-2] + theirs[-1]]
        loader = make_loader(clips, SequentialSampler(clips), batch_size=size, num_workers=workers)
        assert [batch.tolist() for batch in loader] == theirs
        assert len(loader) == len(theirs)
        assert batch_size_of(loader) == size


@pytest.mark.usefixtures("registered")
def test_the_order_and_the_random_numbers_are_those_of_a_shuffling_loader() -> None:
    from MMSA import data_loader

    class Clips(list):
        mode = "train"

    clips, orders = Clips(range(9)), []
    for make in (DataLoader, data_loader.DataLoader):
        torch.manual_seed(3)
        loader = make(clips, batch_size=4, shuffle=True, num_workers=0)
        orders.append([torch.cat(list(loader)).tolist() for _ in range(2)])
        orders[-1].append(torch.rand(2).tolist())
    assert orders[0] == orders[1]
    clips.mode = "test"
    loader = data_loader.DataLoader(clips, batch_size=4, shuffle=True, num_workers=0)
    assert [batch.tolist() for batch in loader] == [[0, 1, 2, 3], [4, 5, 6, 7, 8]]
