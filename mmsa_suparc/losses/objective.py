"""The training objective: MAE + α · SupArc + β · modality triplet, term by term."""

from __future__ import annotations

from torch import Tensor, nn

from mmsa_suparc.losses.modality_triplet import ModalityTripletLoss
from mmsa_suparc.names import NESTED_PAIRS


class Objective(nn.Module):
    """Formula: L = mean |ŷ − y| + α · L_SupArc + β · L_triplet.

    Args:
        suparc: the contrastive loss on complete fusion vectors: SupArc, or a rival of it.
        triplet: the modality triplet loss on masked ones.
        weight_suparc: α ≥ 0; with 0 the term is not computed.
        weight_triplet: β ≥ 0; likewise.
    """

    def __init__(
        self,
        suparc: nn.Module,
        triplet: ModalityTripletLoss,
        *,
        weight_suparc: float = 0.1,
        weight_triplet: float = 0.1,
    ) -> None:
        super().__init__()
        self.suparc = suparc
        self.triplet = triplet
        self.weight_suparc = weight_suparc
        self.weight_triplet = weight_triplet

    @property
    def needs_masked(self) -> bool:
        """Whether the masked fusion vectors have to be computed at all."""
        return self.weight_triplet > 0

    def forward(
        self,
        prediction: Tensor,
        fusion: Tensor,
        scores: Tensor,
        masked: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The total and its unweighted terms.

        Args:
            prediction: (B,) or (B, 1), score units.
            fusion: (B, D) complete fusion vectors.
            scores: (B,), score units.
            masked: fusion vectors under ``names.ONE_MASKED`` (3, B, D) and under
                ``names.TWO_MASKED`` (3, B, D); needed where ``needs_masked``.

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
            larger, smaller = (list(side) for side in zip(*NESTED_PAIRS, strict=True))
            terms["triplet"] = self.triplet(fusion, one_masked[larger], two_masked[smaller])
            total = total + self.weight_triplet * terms["triplet"]
        return total, terms
