"""What is said of a batch's pairs and gradients, against loops and hand-made batches."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch

from mmsa_suparc.losses import ModalityTripletLoss, Objective, SupArcLoss
from mmsa_suparc.losses.diagnostics import (
    gradient_diagnostics,
    idle_terms,
    pair_diagnostics,
    pair_sums,
    term_gradients,
)

SCORES = torch.tensor([0.2, 0.4, 2.8, -2.0, -1.6])
DEGREES = torch.tensor([0.0, 4.0, 50.0, 170.0, 178.0])
CIRCLE = torch.stack([DEGREES.deg2rad().cos(), DEGREES.deg2rad().sin()], dim=1)


def by_loops(loss: SupArcLoss) -> dict[str, float | None]:
    shares, margins, saturated = [], [], 0
    for i in range(5):
        count = 0
        for j in range(5):
            if i == j:
                continue
            delta = abs(SCORES[i] - SCORES[j]).item()
            positive = delta <= loss.threshold + 1e-4
            if loss.sampling == "class":
                positive = bool(SCORES[i].sign() == SCORES[j].sign())
            count += positive
            if loss.margin_on in ("both", "positives" if positive else "negatives"):
                margin = loss.margin * (delta if loss.margin_scale == "score_difference" else 1.0)
                margins.append(margin)
                angle = math.radians(abs(DEGREES[i] - DEGREES[j]).item())
                subtracts = loss.margin_sign == "subtract"
                saturated += angle <= margin if subtracts else angle + margin >= math.pi
        shares.append(count / 4)
    share = sum(shares) / 5
    return {
        "positives": share,
        "negatives": 1 - share,
        "margin_mean": sum(margins) / len(margins) if margins else None,
        "margin_largest": max(margins) if margins else None,
        "saturated": saturated / len(margins) if margins else None,
    }


@pytest.mark.parametrize(
    ("on", "sign", "scale", "sampling"),
    list(product(
        ("negatives", "positives", "both", "none"), ("subtract", "add"),
        ("score_difference", "constant"), ("threshold", "class"),
    )),
)  # fmt: skip
def test_pairs_and_margins_are_those_of_loops(
    on: str, sign: str, scale: str, sampling: str
) -> None:
    loss = SupArcLoss(0.5, 0.2, 0.1, on, sign, scale, sampling)  # type: ignore[arg-type]
    found = pair_diagnostics([pair_sums(3.0 * CIRCLE, SCORES, loss)])
    assert found == pytest.approx(by_loops(loss), abs=1e-5)


def test_of_several_batches_every_pair_counts_once() -> None:
    loss = SupArcLoss(0.5, 0.1, margin_on="both", margin_scale="constant")
    batches = [pair_sums(CIRCLE[some], SCORES[some], loss) for some in ([0, 1, 2], [3, 4], [0])]
    found = pair_diagnostics(batches)
    # Of the anchors 0 and 1 one of two is a positive, of 2 none, of 3 and 4 the only one.
    assert found["positives"] == pytest.approx((0.5 + 0.5 + 0 + 1 + 1) / 5)
    assert found["margin_mean"] == pytest.approx(0.1)
    nothing = pair_diagnostics([pair_sums(CIRCLE[:1], SCORES[:1], loss)])
    assert nothing == dict.fromkeys(found)


def make_objective(**weights: float) -> Objective:
    weights = {"weight_suparc": 0.3, "weight_triplet": 0.2, "weight_masked": 0.7, **weights}
    return Objective(SupArcLoss(), ModalityTripletLoss(margin=0.1), **weights)


def test_the_terms_gradients_add_up_to_that_of_the_objective() -> None:
    torch.manual_seed(0)
    network, fusion = torch.nn.Linear(4, 1), torch.randn(7, 5, 4)
    objective = make_objective()
    with torch.no_grad():  # as after a training
        found = term_gradients(objective, network, fusion, SCORES)
    leaf = fusion.clone().requires_grad_()
    total, _ = objective(
        network(leaf[0]), leaf[0], SCORES, (leaf[1:4], leaf[4:]), network(leaf[1:])
    )
    (expected,) = torch.autograd.grad(total, leaf)
    assert set(found) == {"mae", "suparc", "triplet", "masked"}
    torch.testing.assert_close(sum(found.values()), expected)
    assert not found["mae"][1:].any()
    assert not found["suparc"][1:].any()
    assert not found["masked"][0].any()
    terms = term_gradients(
        make_objective(weight_triplet=0.0, weight_masked=0.0), network, fusion, SCORES
    )
    assert set(terms) == {"mae", "suparc"}


def test_norms_and_cosines_of_hand_made_gradients() -> None:
    def gradient(complete: tuple, masked: tuple = (0.0, 0.0)) -> torch.Tensor:
        made = torch.zeros(7, 1, 2)
        made[0, 0], made[3, 0] = torch.tensor(complete), torch.tensor(masked)
        return made

    batches = [
        {"mae": gradient((3.0, 4.0)), "suparc": gradient((0.0, 0.0)),
         "masked": gradient((0.0, 0.0), (3.0, 4.0))},
        {"mae": gradient((1.0, 0.0)), "suparc": gradient((0.0, 2.0)),
         "masked": gradient((0.0, 0.0), (-1.0, 0.0))},
    ]  # fmt: skip
    found = gradient_diagnostics(batches)
    assert found["norms"] == pytest.approx({"mae": 3.0, "suparc": 1.0, "masked": 3.0})
    assert found["cosines"] == pytest.approx(
        {"mae, suparc": 0.0, "mae, masked": 0.0, "suparc, masked": 0.0}
    )
    silent = gradient_diagnostics([{"mae": batches[0]["mae"], "suparc": gradient((0.0, 0.0))}])
    assert silent["cosines"] == {"mae, suparc": None}


MARGIN = {"margin_mean": 0.018, "margin_largest": 0.04}
NORMS = {"mae": 1.0, "suparc": 0.3, "triplet": 0.2, "masked": 0.9}


@pytest.mark.parametrize(
    ("pairs", "norms", "has_margin", "words"),
    [
        (MARGIN, NORMS, True, ["the margin does nothing: 0.018 rad in the mean and 0.040 at most"]),
        (MARGIN, NORMS, False, []),
        (MARGIN, {"mae": 1.0}, True, []),
        ({"margin_mean": 0.06, "margin_largest": 0.1}, NORMS, True, []),
        (dict.fromkeys(MARGIN), NORMS, True, ["no pair carries the margin; raise margin"]),
        (None, NORMS, True, []),
        (None, {**NORMS, "triplet": 0.004}, True,
         ["the term 'triplet' does nothing: its gradient is 0.40% of the MAE's, expected 1% or "
          "more; raise weight_triplet"]),
        (None, {"mae": 0.0, "suparc": 0.0}, True, []),
    ],
)  # fmt: skip
def test_a_term_that_does_nothing_is_named(
    pairs: dict | None, norms: dict, has_margin: bool, words: list[str]
) -> None:
    lines = idle_terms(pairs, norms, has_margin=has_margin)
    assert len(lines) == len(words)
    for line, start in zip(lines, words, strict=True):
        assert line.startswith(start)
