"""The supervised angular-margin contrastive loss."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from mmsa_suparc.config import SupArcConfig, merge, plugin_configs, read_file, sections
from mmsa_suparc.errors import ConfigError, nearest, shown
from mmsa_suparc.losses.pairs import (
    EVERY,
    Sampling,
    positive_pairs,
    same_clip,
    score_differences,
    unit_vectors,
)
from mmsa_suparc.names import SCORE_RANGES

MarginOn = Literal["negatives", "positives", "both", "none"]
MarginSign = Literal["subtract", "add"]
MarginScale = Literal["score_difference", "constant"]


def suparc_loss(
    features: Tensor,
    scores: Tensor,
    *,
    threshold: float = 0.5,
    margin: float = 0.1,
    temperature: float = 0.1,
    margin_on: MarginOn = "negatives",
    margin_sign: MarginSign = "subtract",
    margin_scale: MarginScale = "score_difference",
    sampling: Sampling = "threshold",
) -> Tensor:
    """Pull clips of near scores together by angle, push others the harder the further apart.

    Formula::

        z_i  = f_i / |f_i|,  θ_ij = angle(z_i, z_j),  Δ_ij = |y_i − y_j|
        P(i) = {j ≠ i : Δ_ij ≤ threshold + 1e-4},  N(i) = the other j ≠ i
        φ_ij = margin · Δ_ij          (margin_scale="score_difference")
             = margin                 (margin_scale="constant")
        θ'_ij = max(θ_ij − φ_ij, 0)   (margin_sign="subtract")
              = min(θ_ij + φ_ij, π)   (margin_sign="add")   on the pairs of margin_on,
        θ'_ij = θ_ij                                        elsewhere
        s_ij = cos(θ'_ij) / temperature
        L = mean over i with P(i) ≠ ∅ of mean over p ∈ P(i) of
            −log( exp s_ip / Σ_{j≠i} exp s_ij )

    Args:
        features: (B, D) fusion vectors, any floating type; computed in float32 or wider.
        scores: (B,) or (B, 1), in score units.
        threshold: largest score difference of a positive pair, score units, ≥ 0.
        margin: radians per score unit (radians where ``margin_scale="constant"``), ≥ 0.
        temperature: > 0.
        margin_on: the pairs that carry the margin.
        margin_sign: subtracting makes a pair look closer than it is, which pushes negatives
            harder and lets positives rest earlier; adding does the reverse.
        margin_scale: what the margin grows with.
        sampling: see :func:`mmsa_suparc.losses.pairs.positive_pairs`.

    Returns:
        A scalar. The empty case: with no positive pair in the batch (a batch of one, say) it
        is 0 and still carries a graph. A zero vector is at π/2 from every other. Where
        identical or opposite vectors make d cos(θ') / d cos(θ) infinite, it is taken as 0.

    Source:
        SupArc (supervised angular margin contrastive learning for multimodal sentiment
        analysis): positives within a threshold, an angular margin that grows with Δ_ij. Its
        text does not say which pairs carry the margin nor its sign; the default here
        (θ − m·Δ on negatives) is that of the same authors' KDMCSE (NAACL 2024), while
        ``positives`` with ``add`` is the side of ArcCSE (ACL 2022). The contrastive form is
        the "out" form of Khosla et al. (NeurIPS 2020).
    """
    scores = scores.reshape(-1)
    if features.ndim != 2 or features.shape[0] != scores.shape[0]:
        raise ValueError(
            f"features have shape {tuple(features.shape)} and scores {tuple(scores.shape)}; "
            "expected (B, D) and (B,)"
        )
    numbers = _Numbers(
        threshold, margin, temperature, margin_on, margin_sign, margin_scale, sampling
    )
    unit = unit_vectors(features)  # (B, D)
    scores = scores.to(unit.dtype)
    if len(scores) <= BLOCK:
        total, anchors = _sum_over_anchors(unit, scores, EVERY, numbers)
    else:
        total, anchors = _InBlocks.apply(unit, scores, numbers)
    return total / anchors.clamp(min=1)


class _Numbers(NamedTuple):
    """The numbers of the loss; see :func:`suparc_loss`."""

    threshold: float
    margin: float
    temperature: float
    margin_on: MarginOn
    margin_sign: MarginSign
    margin_scale: MarginScale
    sampling: Sampling


def _sum_over_anchors(
    unit: Tensor, scores: Tensor, rows: slice, numbers: _Numbers
) -> tuple[Tensor, Tensor]:
    """The loss summed over the anchors in ``rows`` (R of the B clips), and their number."""
    sampling, threshold = numbers.sampling, numbers.threshold
    itself = same_clip(scores, rows)  # (R, B)
    positives = positive_pairs(scores, sampling=sampling, threshold=threshold, rows=rows)
    positives &= ~itself
    positive_count = positives.sum(dim=1)  # (R,)
    is_anchor = positive_count > 0

    with torch.autocast(device_type=unit.device.type, enabled=False):
        cosine = unit[rows] @ unit.T  # (R, B), cos θ
        if numbers.margin_on != "none" and numbers.margin > 0.0:
            with_margin = _cosine_with_margin(
                cosine,
                margin_angles(scores, rows, margin=numbers.margin, scale=numbers.margin_scale),
                numbers.margin_sign,
            )
            if numbers.margin_on == "both":
                cosine = with_margin
            elif numbers.margin_on == "positives":
                cosine = torch.where(positives, with_margin, cosine)
            else:
                cosine = torch.where(positives, cosine, with_margin)

    logits = (cosine / numbers.temperature).masked_fill_(itself, -math.inf)
    # A batch of one has nothing to normalise over: −inf, which the selection below drops.
    log_normaliser = logits.logsumexp(dim=1)  # (R,), over j ≠ i
    positive_mean = logits.masked_fill(~positives, 0.0).sum(dim=1) / positive_count.clamp(min=1)
    # Chosen before subtracting: −inf − 0 would have no gradient to drop.
    per_anchor = log_normaliser.where(is_anchor, 0.0) - positive_mean.where(is_anchor, 0.0)
    return per_anchor.sum(), is_anchor.sum()


#: Anchors whose pairs are looked at together. More clips are taken in blocks of so many.
BLOCK = 512


class _InBlocks(torch.autograd.Function):
    """:func:`_sum_over_anchors` of a large batch, block by block of anchors.

    The gradient of a block is computed with its value, so that only one block's (R, B)
    matrices exist at a time: they fit into a processor's cache, and the memory grows with B
    instead of B².
    """

    @staticmethod
    def forward(ctx: Any, unit: Tensor, scores: Tensor, numbers: _Numbers) -> tuple[Tensor, Tensor]:
        leaf = unit.detach().requires_grad_(ctx.needs_input_grad[0])
        total, anchors = unit.new_zeros(()), unit.new_zeros((), dtype=torch.long)
        rows_at_once = max(1, BLOCK * BLOCK // len(scores))
        for start in range(0, len(scores), rows_at_once):
            rows = slice(start, start + rows_at_once)
            with torch.set_grad_enabled(leaf.requires_grad):
                block, count = _sum_over_anchors(leaf, scores, rows, numbers)
            if block.requires_grad:
                block.backward()
            total += block.detach()
            anchors += count
        ctx.gradient = leaf.grad
        ctx.mark_non_differentiable(anchors)
        return total, anchors

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Any) -> tuple[Tensor, None, None]:
        if torch.is_grad_enabled():  # create_graph=True
            raise RuntimeError(
                f"suparc_loss of more than {BLOCK} clips has no second derivative; expected "
                "create_graph=False, or a smaller batch"
            )
        return gradient * ctx.gradient, None, None


def margin_angles(scores: Tensor, rows: slice, *, margin: float, scale: MarginScale) -> Tensor:
    """φ_ij in radians, within [0, π]: a larger one has no further effect.

    Args:
        scores: (B,), score units.
        rows: the R anchors.
        margin: radians per score unit, or radians where ``scale`` is ``constant``.
        scale: what the margin grows with.

    Returns:
        (R, B), or (1, 1) for a constant.
    """
    if scale == "score_difference":
        return (margin * score_differences(scores, rows)).clamp(max=math.pi)
    return scores.new_full((1, 1), min(margin, math.pi))


def _cosine_with_margin(cosine: Tensor, phi: Tensor, sign: MarginSign) -> Tensor:
    """cos(max(θ − φ, 0)) or cos(min(θ + φ, π)), from cos θ alone and without acos.

    cos(θ ∓ φ) = cos θ · cos φ ± sin θ · sin φ; the bounds are reached where
    cos θ ≥ cos φ, or cos θ ≤ −cos φ.
    """
    cos_phi, sin_phi = phi.cos(), phi.sin()
    sine = _sine_from_cosine(cosine)
    if sign == "subtract":
        moved = cosine * cos_phi + sine * sin_phi
        return torch.where(cosine >= cos_phi, torch.ones_like(moved), moved)
    moved = cosine * cos_phi - sine * sin_phi
    return torch.where(cosine <= -cos_phi, -torch.ones_like(moved), moved)


def _sine_from_cosine(cosine: Tensor) -> Tensor:
    """sin θ = √(1 − cos² θ) for θ ∈ [0, π], with gradient 0 where it would be infinite."""
    squared = 1.0 - cosine.square()
    regular = squared > torch.finfo(cosine.dtype).eps
    at_the_ends = squared.detach().clamp(min=0.0).sqrt()
    return torch.where(
        regular, squared.where(regular, torch.ones_like(squared)).sqrt(), at_the_ends
    )


class SupArcLoss(nn.Module):
    """:func:`suparc_loss` with its numbers held: ``loss(features (B, D), scores (B,))``.

    Args: as in :func:`suparc_loss`.

    The defaults are the published method's starting point, on a scale of [-3, 3]. They are not
    what ``mmsa -d mosi`` trains with (the margin is added, and to positives), nor what suits
    another scale: :meth:`from_config` has a data set's values.

    Raises:
        ValueError: a number out of range or an unknown word, naming it.
    """

    def __init__(
        self,
        threshold: float = 0.5,
        margin: float = 0.1,
        temperature: float = 0.1,
        margin_on: MarginOn = "negatives",
        margin_sign: MarginSign = "subtract",
        margin_scale: MarginScale = "score_difference",
        sampling: Sampling = "threshold",
    ) -> None:
        super().__init__()
        for name, value in (("threshold", threshold), ("margin", margin)):
            if not 0.0 <= value < math.inf:
                raise ValueError(f"{name} is {value}; expected a finite number ≥ 0")
        if not 0.0 < temperature < math.inf:
            raise ValueError(f"temperature is {temperature}; expected a finite number > 0")
        for name, word, words in (
            ("margin_on", margin_on, MarginOn),
            ("margin_sign", margin_sign, MarginSign),
            ("margin_scale", margin_scale, MarginScale),
            ("sampling", sampling, Sampling),
        ):
            if word not in get_args(words):
                raise ValueError(f"{name} is {word!r}; expected one of {get_args(words)}")
        self.threshold = threshold
        self.margin = margin
        self.temperature = temperature
        self.margin_on: MarginOn = margin_on
        self.margin_sign: MarginSign = margin_sign
        self.margin_scale: MarginScale = margin_scale
        self.sampling: Sampling = sampling

    @classmethod
    def from_config(cls, dataset: str, **changed: Any) -> SupArcLoss:
        """With the values that ``mmsa -m suparc -d DATASET`` trains with, ``suparc.yaml``'s.

        Args:
            dataset: ``mosi``, ``mosei``, ``sims``, ``simsv2``, ``demo``; ``custom`` has the shared
                values alone.
            changed: arguments of the constructor, above those values.

        Raises:
            ConfigError: an unknown data set.
        """
        known = [*SCORE_RANGES, "custom"]
        if dataset not in known:
            raise ConfigError(f"data set {shown(dataset)}: unknown{nearest(dataset, known)}")
        content = read_file(plugin_configs() / "suparc.yaml")
        layers = sections(content, "suparc.yaml", model="suparc", dataset=dataset)
        config = SupArcConfig.model_validate(merge(layers).values)
        return cls(**{name: getattr(config, name) for name in _Numbers._fields} | changed)

    def forward(self, features: Tensor, scores: Tensor) -> Tensor:
        """The loss of a batch: features (B, D), scores (B,) -> scalar."""
        return suparc_loss(
            features,
            scores,
            threshold=self.threshold,
            margin=self.margin,
            temperature=self.temperature,
            margin_on=self.margin_on,
            margin_sign=self.margin_sign,
            margin_scale=self.margin_scale,
            sampling=self.sampling,
        )

    def extra_repr(self) -> str:
        return (
            f"threshold={self.threshold}, margin={self.margin}, temperature={self.temperature}, "
            f"margin_on={self.margin_on}, margin_sign={self.margin_sign}, "
            f"margin_scale={self.margin_scale}, sampling={self.sampling}"
        )
