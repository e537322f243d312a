"""The modality triplet loss and the objective."""

from __future__ import annotations

import pytest
import torch

from mmsa_suparc.losses import ModalityTripletLoss, Objective, SupArcLoss, modality_triplet_loss
from mmsa_suparc.names import MODALITIES, NESTED_PAIRS, ONE_MASKED, TWO_MASKED
from tests.reference.loops import triplet_loops


def make_vectors(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((5, 4), (6, 5, 4), (6, 5, 4))
    return tuple(torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes)


@pytest.mark.parametrize("margin", [0.0, 0.1, 1.0])
def test_value_and_gradient_equal_the_loops(margin: float) -> None:
    ours = [v.requires_grad_() for v in make_vectors()]
    slow = [v.detach().clone().requires_grad_() for v in ours]
    loss = modality_triplet_loss(*ours, margin=margin)
    expected = triplet_loops(*slow, margin)
    torch.testing.assert_close(loss, expected, atol=1e-12, rtol=0)
    loss.backward()
    expected.backward()
    for left, right in zip(ours, slow, strict=True):
        torch.testing.assert_close(left.grad, right.grad)


def test_gradcheck() -> None:
    vectors = [v.requires_grad_() for v in make_vectors(1)]
    assert torch.autograd.gradcheck(ModalityTripletLoss(2.0), vectors)


def test_order_satisfied_by_the_margin_costs_nothing() -> None:
    complete = torch.tensor([[1.0, 0.0]])
    near, far = torch.tensor([[0.8, 0.6]]), torch.tensor([[0.6, 0.8]])
    assert ModalityTripletLoss(0.1)(complete, near, far).item() == 0.0
    assert ModalityTripletLoss(0.3)(complete, near, far).item() == pytest.approx(0.1)
    assert ModalityTripletLoss(0.1)(complete, far, near).item() == pytest.approx(0.3)


def test_zero_vectors_and_half_precision_stay_finite() -> None:
    vectors = [torch.zeros(3, 4, dtype=torch.float16, requires_grad=True) for _ in range(3)]
    loss = ModalityTripletLoss(0.1)(*vectors)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(0.1)
    assert all(torch.isfinite(v.grad).all() for v in vectors)


def test_empty_batch_is_zero_with_a_graph() -> None:
    vectors = [torch.empty(0, 4, requires_grad=True) for _ in range(3)]
    loss = ModalityTripletLoss(0.1)(*vectors)
    loss.backward()
    assert loss.item() == 0.0


def test_shapes_and_margin_are_checked() -> None:
    with pytest.raises(ValueError, match="expected"):
        modality_triplet_loss(torch.ones(2, 3), torch.ones(2, 3), torch.ones(3, 3))
    with pytest.raises(ValueError, match="margin is -1"):
        ModalityTripletLoss(-1)


def test_six_nested_pairs() -> None:
    assert len(ONE_MASKED) == len(TWO_MASKED) == 3
    assert len(set(NESTED_PAIRS)) == 6
    for i, j in NESTED_PAIRS:
        kept = {m for m, flag in zip(MODALITIES, ONE_MASKED[i], strict=True) if flag}
        still = {m for m, flag in zip(MODALITIES, TWO_MASKED[j], strict=True) if flag}
        assert still < kept
        assert (len(kept), len(still)) == (2, 1)


def test_objective_is_the_weighted_sum_of_its_terms() -> None:
    generator = torch.Generator().manual_seed(0)
    fusion = torch.randn(8, 4, generator=generator)
    masked = tuple(torch.randn(3, 8, 4, generator=generator) for _ in range(2))
    scores = torch.linspace(-1, 1, 8)
    prediction = torch.zeros(8, 1)
    objective = Objective(
        SupArcLoss(), ModalityTripletLoss(), weight_suparc=0.3, weight_triplet=0.7
    )
    total, terms = objective(prediction, fusion, scores, masked)
    expected_triplet = sum(
        modality_triplet_loss(fusion, masked[0][i], masked[1][j]) for i, j in NESTED_PAIRS
    ) / len(NESTED_PAIRS)
    torch.testing.assert_close(terms["mae"], scores.abs().mean())
    torch.testing.assert_close(terms["suparc"], SupArcLoss()(fusion, scores))
    torch.testing.assert_close(terms["triplet"], expected_triplet)
    torch.testing.assert_close(total, terms["mae"] + 0.3 * terms["suparc"] + 0.7 * terms["triplet"])


def test_objective_counts_the_error_of_masked_vectors() -> None:
    scores, masked = torch.tensor([1.0, -2.0]), torch.arange(12.0).reshape(6, 2, 1)
    objective = Objective(
        SupArcLoss(), ModalityTripletLoss(), weight_suparc=0, weight_triplet=0, weight_masked=0.5
    )
    assert objective.needs_masked
    total, terms = objective(scores, torch.ones(2, 3), scores, masked_prediction=masked)
    # |0, 2, … 10 − 1| and |1, 3, … 11 + 2|: a mean of 26 / 6 and of 48 / 6.
    torch.testing.assert_close(terms["masked"], torch.tensor((26 / 6 + 48 / 6) / 2))
    torch.testing.assert_close(total, 0.5 * terms["masked"])
    with pytest.raises(ValueError, match="needs the scores of the masked"):
        objective(scores, torch.ones(2, 3), scores)


def test_objective_skips_terms_of_weight_zero() -> None:
    objective = Objective(SupArcLoss(), ModalityTripletLoss(), weight_suparc=0, weight_triplet=0)
    assert not objective.needs_masked
    total, terms = objective(torch.zeros(2), torch.ones(2, 3), torch.ones(2))
    assert set(terms) == {"mae"}
    assert total.item() == 1.0
