"""The losses of SupArc, usable by themselves: tensors in, a scalar out."""

from mmsa_suparc.losses.modality_triplet import ModalityTripletLoss, modality_triplet_loss
from mmsa_suparc.losses.objective import Objective
from mmsa_suparc.losses.rank_n_contrast import RankNContrastLoss, rank_n_contrast_loss
from mmsa_suparc.losses.suparc import SupArcLoss, suparc_loss

__all__ = [
    "ModalityTripletLoss",
    "Objective",
    "RankNContrastLoss",
    "SupArcLoss",
    "modality_triplet_loss",
    "rank_n_contrast_loss",
    "suparc_loss",
]
