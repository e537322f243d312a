"""SupArc's network: encoders, masking, fusion, prediction. Pure torch; keywords only."""

from mmsa_suparc.model.encoders import SequenceEncoder, TextEncoder
from mmsa_suparc.model.suparc import SupArc

__all__ = ["SequenceEncoder", "SupArc", "TextEncoder"]
