"""The training objective, term by term."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmsa_suparc.losses.modality_triplet import ModalityTripletLoss
from mmsa_suparc.names import NESTED_PAIRS


class Objective(nn.Module):
    """Formula: L = mean |ŷ − y| + α · L_SupArc + β · L_triplet + γ · mean over S of |ŷ_S − y|.

    S are the six subsets that lack a modality or two.

    Args:
        suparc: the contrastive loss on complete fusion vectors: SupArc, or a rival of it.
        triplet: the modality triplet loss on masked ones.
        weight_suparc: α ≥ 0; with 0 the term is not computed.
        weight_triplet: β ≥ 0; likewise.
        weight_masked: γ ≥ 0; likewise. Without it the prediction network never sees the fusion
            vector of a clip that lacks something.
    """

    def __init__(
        self,
        suparc: nn.Module,
        triplet: ModalityTripletLoss,
        *,
        weight_suparc: float = 0.1,
        weight_triplet: float = 0.1,
        weight_masked: float = 0.0,
    ) -> None:
        super().__init__()
        self.suparc = suparc
        self.triplet = triplet
        self.weight_suparc = weight_suparc
        self.weight_triplet = weight_triplet
        self.weight_masked = weight_masked

    @property
    def weights(self) -> dict[str, float]:
        """By the names of the terms."""
        return {
            "mae": 1.0,
            "suparc": self.weight_suparc,
            "triplet": self.weight_triplet,
            "masked": self.weight_masked,
        }

    @property
    def needs_masked(self) -> bool:
        """Whether the masked fusion vectors have to be computed at all."""
        return self.weight_triplet > 0 or self.weight_masked > 0

    def forward(
        self,
        prediction: Tensor,
        fusion: Tensor,
        scores: Tensor,
        masked: tuple[Tensor, Tensor] | None = None,
        masked_prediction: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The total and its unweighted terms.

        Args:
            prediction: (B,) or (B, 1), score units.
            fusion: (B, D) complete fusion vectors.
            scores: (B,), score units.
            masked: fusion vectors under ``names.ONE_MASKED`` (3, B, D) and under
                ``names.TWO_MASKED`` (3, B, D); needed where ``weight_triplet`` > 0.
            masked_prediction: (6, B) or (6, B, 1), the scores of both; needed where
                ``weight_masked`` > 0.

        Returns:
            The scalar to differentiate, and the terms by their names in ``names.LOSS_TERMS``.
        """
        terms = {"mae": (prediction.float().reshape(-1) - scores.float()).abs().mean()}
        total = terms["mae"]
        if self.weight_suparc > 0:
            terms["suparc"] = self.suparc(fusion, scores)
            total = total + self.weight_suparc * terms["suparc"]
        if self.weight_triplet > 0:
            if masked is None:
                raise ValueError("weight_triplet > 0 needs the masked fusion vectors")
            one_masked, two_masked = masked
            larger = torch.stack([one_masked[one] for one, _ in NESTED_PAIRS])  # (6, B, D)
            smaller = torch.stack([two_masked[two] for _, two in NESTED_PAIRS])
            terms["triplet"] = self.triplet(fusion, larger, smaller)
            total = total + self.weight_triplet * terms["triplet"]
        if self.weight_masked > 0:
            if masked_prediction is None:
                raise ValueError("weight_masked > 0 needs the scores of the masked fusion vectors")
            errors = masked_prediction.float().reshape(-1, len(scores)) - scores.float()
            terms["masked"] = errors.abs().mean()
            total = total + self.weight_masked * terms["masked"]
        return total, terms
