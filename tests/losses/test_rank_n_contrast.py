"""Rank-N-Contrast against loops."""

from __future__ import annotations

import pytest
import torch

from mmsa_suparc.losses import RankNContrastLoss
from tests.reference.loops import rank_n_contrast_loops


@pytest.mark.parametrize("similarity", ["distance", "cosine"])
@pytest.mark.parametrize("seed", range(4))
def test_value_and_gradient_equal_the_loops(seed: int, similarity: str) -> None:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(8, 4, generator=generator, dtype=torch.float64)
    scores = torch.randint(-3, 4, (8,), generator=generator).double()
    ours, slow = features.clone().requires_grad_(), features.clone().requires_grad_()
    loss = RankNContrastLoss(0.7, similarity)(ours, scores)
    expected = rank_n_contrast_loops(slow, scores, temperature=0.7, similarity=similarity)
    torch.testing.assert_close(loss, expected, atol=1e-9, rtol=0)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, slow.grad, atol=1e-9, rtol=1e-7)


def test_ordered_distances_cost_less() -> None:
    scores = torch.tensor([-2.0, 0.0, 2.0])
    ordered = torch.tensor([[-2.0], [0.0], [2.0]])
    mixed = torch.tensor([[0.0], [-2.0], [2.0]])
    loss = RankNContrastLoss()
    assert loss(ordered, scores) < loss(mixed, scores)


@pytest.mark.parametrize("similarity", ["distance", "cosine"])
@pytest.mark.parametrize("count", [1, 3])
def test_identical_vectors_and_a_batch_of_one_are_finite(count: int, similarity: str) -> None:
    features = torch.ones(count, 4, requires_grad=True)
    loss = RankNContrastLoss(2.0, similarity)(features, torch.arange(float(count)))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(features.grad).all()
    with pytest.raises(ValueError, match="temperature is 0"):
        RankNContrastLoss(0)
    with pytest.raises(ValueError, match="similarity is 'angle'"):
        RankNContrastLoss(1.0, "angle")
