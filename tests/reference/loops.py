"""The losses as loops over pairs, to be read against their formulas. Slow on purpose."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def suparc_loops(
    features: Tensor,
    scores: Tensor,
    *,
    threshold: float,
    margin: float,
    temperature: float,
    margin_on: str,
    margin_sign: str,
    margin_scale: str,
    sampling: str,
) -> Tensor:
    count = len(scores)

    def is_positive(i: int, j: int) -> bool:
        if sampling == "class":
            return bool(torch.sign(scores[i]) == torch.sign(scores[j]))
        if sampling == "rounded":
            return round(scores[i].item()) == round(scores[j].item())
        return bool((scores[i] - scores[j]).abs() <= threshold + 1e-4)

    def logit(i: int, j: int) -> Tensor:
        cosine = features[i] @ features[j] / (features[i].norm() * features[j].norm())
        theta = torch.acos(cosine)
        side = "positives" if is_positive(i, j) else "negatives"
        if margin_on in (side, "both"):
            delta = (scores[i] - scores[j]).abs() if margin_scale == "score_difference" else 1.0
            if margin_sign == "subtract":
                theta = torch.clamp(theta - margin * delta, min=0.0)
            else:
                theta = torch.clamp(theta + margin * delta, max=math.pi)
        return torch.cos(theta) / temperature

    per_anchor = []
    for i in range(count):
        others = [j for j in range(count) if j != i]
        positives = [j for j in others if is_positive(i, j)]
        if not positives:
            continue
        total = sum(torch.exp(logit(i, j)) for j in others)
        terms = [-torch.log(torch.exp(logit(i, p)) / total) for p in positives]
        per_anchor.append(sum(terms) / len(terms))
    return sum(per_anchor) / len(per_anchor)


def triplet_loops(
    complete: Tensor, one_masked: Tensor, two_masked: Tensor, margin: float
) -> Tensor:
    terms = []
    for pair in range(one_masked.shape[0]):
        for clip in range(complete.shape[0]):
            f, s1, s2 = complete[clip], one_masked[pair, clip], two_masked[pair, clip]
            near = f @ s1 / (f.norm() * s1.norm())
            far = f @ s2 / (f.norm() * s2.norm())
            terms.append(torch.clamp(far - near + margin, min=0.0))
    return sum(terms) / len(terms)


def rank_n_contrast_loops(
    features: Tensor, scores: Tensor, *, temperature: float, similarity: str
) -> Tensor:
    """Rank-N-Contrast by three loops."""

    def likeness(i: int, j: int) -> Tensor:
        if similarity == "cosine":
            norms = features[i].norm() * features[j].norm()
            return torch.exp(features[i] @ features[j] / norms / temperature)
        return torch.exp(-(features[i] - features[j]).norm() / temperature)

    count = len(scores)
    total = features.new_zeros(())
    for i in range(count):
        for j in range(count):
            if j == i:
                continue
            others = [
                likeness(i, k)
                for k in range(count)
                if k != i and abs(scores[i] - scores[k]) >= abs(scores[i] - scores[j]) - 1e-4
            ]
            total = total - torch.log(likeness(i, j) / sum(others))
    return total / (count * (count - 1))
