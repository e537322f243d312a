"""What the losses do to a batch: who is compared, by which margin, and which term pulls."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mmsa_suparc.losses.objective import Objective
from mmsa_suparc.losses.pairs import EVERY, positive_pairs, same_clip, unit_vectors
from mmsa_suparc.losses.suparc import SupArcLoss, margin_angles
from mmsa_suparc.names import ONE_MASKED

#: Below these a term does nothing: the mean margin in radians; a gradient's share of the MAE's.
LEAST_MARGIN, LEAST_SHARE = 0.05, 0.01


class PairSums(NamedTuple):
    """Of a batch, to be added up over batches; see :func:`pair_diagnostics`."""

    anchors: int
    positive_shares: float  # summed over anchors
    carriers: int  # pairs that carry a margin
    margins: float  # summed over them, radians
    largest: float  # radians
    saturated: int


def pair_sums(features: Tensor, scores: Tensor, loss: SupArcLoss) -> PairSums:
    """Look at every ordered pair of a batch.

    Args:
        features: (B, D) complete fusion vectors.
        scores: (B,), score units.
        loss: its numbers.

    Returns:
        Zeros for a batch of one, which has no pairs.
    """
    count = len(scores)
    if count < 2:
        return PairSums(0, 0.0, 0, 0.0, 0.0, 0)
    itself = same_clip(scores)
    positives = positive_pairs(scores, sampling=loss.sampling, threshold=loss.threshold) & ~itself
    carries = torch.zeros_like(positives)
    if loss.margin > 0 and loss.margin_on != "none":
        carries = {
            "positives": positives, "negatives": ~positives & ~itself, "both": ~itself,
        }[loss.margin_on]  # fmt: skip
    unit = unit_vectors(features)
    angles = (unit @ unit.T).clamp(-1, 1).acos()  # (B, B)
    margin = margin_angles(scores, EVERY, margin=loss.margin, scale=loss.margin_scale)
    margin = margin.to(angles).expand_as(angles)
    bounded = angles <= margin if loss.margin_sign == "subtract" else angles + margin >= math.pi
    return PairSums(
        anchors=count,
        positive_shares=float(positives.sum()) / (count - 1),
        carriers=int(carries.sum()),
        margins=float(margin[carries].sum()),
        largest=float(margin[carries].max()) if bool(carries.any()) else 0.0,
        saturated=int((bounded & carries).sum()),
    )


def pair_diagnostics(batches: Sequence[PairSums]) -> dict[str, float | None]:
    """Over batches, with n the anchors, B the clips of a batch, C the pairs that carry a margin.

    Returns:
        ``positives``, ``negatives``: shares of the other clips of its batch, mean over anchors;
        ``margin_mean``, ``margin_largest``: φ over C, radians; ``saturated``: the share of C whose
        angle with its margin is at a bound, 0 or π. None where there is nothing to take it of.
    """
    anchors = sum(batch.anchors for batch in batches)
    carriers = sum(batch.carriers for batch in batches)
    positives = sum(batch.positive_shares for batch in batches) / anchors if anchors else None
    return {
        "positives": positives,
        "negatives": None if positives is None else 1.0 - positives,
        "margin_mean": sum(b.margins for b in batches) / carriers if carriers else None,
        "margin_largest": max(b.largest for b in batches) if carriers else None,
        "saturated": sum(b.saturated for b in batches) / carriers if carriers else None,
    }


def term_gradients(
    objective: Objective, predict: Callable[[Tensor], Tensor], fusion: Tensor, scores: Tensor
) -> dict[str, Tensor]:
    """The gradient of each term, times its weight, with respect to the fusion vectors.

    Args:
        objective: the losses.
        predict: scores (..., 1) of fusion vectors (..., D).
        fusion: (7, B, D): complete, then under ``names.ONE_MASKED`` and ``names.TWO_MASKED``.
        scores: (B,), score units.

    Returns:
        (7, B, D) by the term's name.
    """
    with torch.enable_grad():
        leaf = fusion.detach().clone().requires_grad_()
        complete, masked = leaf[0], leaf[1:]
        _, terms = objective(
            predict(complete),
            complete,
            scores,
            (masked[: len(ONE_MASKED)], masked[len(ONE_MASKED) :]),
            predict(masked)[..., 0],
        )
        return {
            name: torch.autograd.grad(objective.weights[name] * term, leaf, retain_graph=True)[0]
            for name, term in terms.items()
        }


def gradient_diagnostics(batches: Sequence[Mapping[str, Tensor]]) -> dict[str, Any]:
    """Norms of the terms' gradients, and the angles between them; means over batches.

    Args:
        batches: of :func:`term_gradients`, one at least.

    Returns:
        ``norms``: by term, of all seven vectors of every clip. ``cosines``: by two terms
        (``mae, suparc``), of the gradients summed over a clip's seven vectors, which is what moves
        them alike (the MAE acts on the complete one alone, that of masked scores on the others);
        None where one of them is zero in every batch.
    """
    names = list(batches[0])
    norms = {
        name: sum(float(batch[name].norm()) for batch in batches) / len(batches) for name in names
    }
    cosines: dict[str, float | None] = {}
    for one, other in combinations(names, 2):
        found = [_cosine(batch[one].sum(dim=0), batch[other].sum(dim=0)) for batch in batches]
        known = [cosine for cosine in found if cosine is not None]
        cosines[f"{one}, {other}"] = sum(known) / len(known) if known else None
    return {"norms": norms, "cosines": cosines}


def _cosine(a: Tensor, b: Tensor) -> float | None:
    product = float(a.norm() * b.norm())
    return float((a * b).sum()) / product if product > 0 else None


def idle_terms(
    pairs: Mapping[str, float | None] | None, norms: Mapping[str, float], *, has_margin: bool
) -> list[str]:
    """A line for each term that does nothing: what was found, and what to change.

    Args:
        pairs: of :func:`pair_diagnostics`; None for a contrastive loss without a margin.
        norms: of :func:`gradient_diagnostics`.
        has_margin: whether a margin was asked for.
    """
    lines = []
    if pairs is not None and has_margin and "suparc" in norms:
        mean, largest = pairs["margin_mean"], pairs["margin_largest"]
        change = "raise margin, or put it on pairs whose scores differ more (margin_on, sampling)"
        if mean is None or largest is None:
            lines.append(f"no pair carries the margin; {change}")
        elif mean < LEAST_MARGIN:
            lines.append(
                f"the margin does nothing: {mean:.3f} rad in the mean and {largest:.3f} at most, "
                f"expected a mean of {LEAST_MARGIN} or more; {change}"
            )
    for name, norm in norms.items():
        if name != "mae" and norm < LEAST_SHARE * norms["mae"]:
            lines.append(
                f"the term '{name}' does nothing: its gradient is {norm / norms['mae']:.2%} of the "
                f"MAE's, expected {LEAST_SHARE:.0%} or more; raise weight_{name}, or set it to 0"
            )
    return lines
