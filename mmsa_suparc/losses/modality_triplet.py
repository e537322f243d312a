"""The modality triplet loss: the fewer modalities are masked, the nearer to the complete vector."""

from __future__ import annotations

import math

from torch import Tensor, nn

from mmsa_suparc.losses.pairs import unit_vectors


def modality_triplet_loss(
    complete: Tensor, one_masked: Tensor, two_masked: Tensor, *, margin: float = 0.1
) -> Tensor:
    """Keep the complete vector closer to one modality masked than to that and another masked.

    Formula::

        L = mean of max(0, cos(f, f_S2) − cos(f, f_S1) + margin),  S2 ⊂ S1 ⊂ {t, a, v}

    Args:
        complete: f, (B, D) fusion vectors with every modality present; any floating type,
            computed in float32 or wider.
        one_masked: f_S1, (..., B, D); leading axes hold the nested pairs, if several.
        two_masked: f_S2, same shape as ``one_masked``.
        margin: in units of cosine, ≥ 0.

    Returns:
        A scalar. The empty case: 0 with a graph for B = 0. A zero vector has cosine 0.

    Source:
        SupArc: a triplet loss over masked modality representations. Its text does not give
        the distance; cosine is taken here since the contrastive loss acts on angles.
    """
    if one_masked.shape != two_masked.shape or one_masked.shape[-2:] != complete.shape:
        raise ValueError(
            f"complete has shape {tuple(complete.shape)}, one_masked {tuple(one_masked.shape)}, "
            f"two_masked {tuple(two_masked.shape)}; expected (B, D), (..., B, D), (..., B, D)"
        )
    anchor = unit_vectors(complete) if complete.numel() else complete
    if not one_masked.numel():
        return anchor.sum() * 0.0
    near = (anchor * unit_vectors(one_masked)).sum(dim=-1)  # cos(f, f_S1), (..., B)
    far = (anchor * unit_vectors(two_masked)).sum(dim=-1)  # cos(f, f_S2), (..., B)
    return (far - near + margin).clamp(min=0.0).mean()


class ModalityTripletLoss(nn.Module):
    """:func:`modality_triplet_loss` with its margin held.

    Args:
        margin: in units of cosine, ≥ 0.
    """

    def __init__(self, margin: float = 0.1) -> None:
        super().__init__()
        if not 0.0 <= margin < math.inf:
            raise ValueError(f"margin is {margin}; expected a finite number ≥ 0")
        self.margin = margin

    def forward(self, complete: Tensor, one_masked: Tensor, two_masked: Tensor) -> Tensor:
        """(B, D), (..., B, D), (..., B, D) -> scalar."""
        return modality_triplet_loss(complete, one_masked, two_masked, margin=self.margin)

    def extra_repr(self) -> str:
        return f"margin={self.margin}"
