"""The losses of SupArc, usable by themselves: tensors in, a scalar out."""

from mmsa_suparc.losses.modality_triplet import ModalityTripletLoss, modality_triplet_loss
from mmsa_suparc.losses.objective import Objective
from mmsa_suparc.losses.suparc import SupArcLoss, suparc_loss

__all__ = [
    "ModalityTripletLoss",
    "Objective",
    "SupArcLoss",
    "modality_triplet_loss",
    "suparc_loss",
]
