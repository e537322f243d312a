"""A small SupArc and small clips, for tests of the training."""

from __future__ import annotations

import torch
from transformers import BertConfig, BertModel

from mmsa_suparc.config import SupArcConfig
from mmsa_suparc.data.batches import Clips
from mmsa_suparc.data.demo import feature_file, vocabulary
from mmsa_suparc.model import SequenceEncoder, SupArc, TextEncoder

RATES = {f"learning_rate_{part}": 3e-3 for part in ("text", "audio", "vision", "other")}
FAST = SupArcConfig(epochs=4, weight_masked=0.1, **RATES)


def make_model(*, dropout: float = 0.1) -> SupArc:
    torch.manual_seed(0)
    bert = BertConfig(
        vocab_size=len(vocabulary()),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    return SupArc(
        text_encoder=TextEncoder(transformer=BertModel(bert)),
        audio_encoder=SequenceEncoder(width=12, hidden=8),
        vision_encoder=SequenceEncoder(width=16, hidden=8),
        fusion_width=16,
        dropout=dropout,
    )


def configured(config: SupArcConfig, *, layers: int = 1, dropout: float = 0.1) -> SupArc:
    """The network of a configuration, with a BERT of so many layers and such a dropout."""
    torch.manual_seed(0)
    bert = BertConfig(
        vocab_size=len(vocabulary()),
        hidden_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=16,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    small = {"audio_hidden": 8, "vision_hidden": 8, "fusion_width": 16}
    return SupArc.from_config(
        config.model_copy(update=small),
        transformer=BertModel(bert),
        audio_width=12,
        vision_width=16,
    )


def make_clips(split: str) -> Clips:
    fields = feature_file({"train": 200, "valid": 60})[split]
    return Clips(
        **{
            name: torch.from_numpy(fields[source])
            for name, source in (
                ("text", "text_bert"), ("audio", "audio"), ("vision", "vision"),
                ("audio_lengths", "audio_lengths"), ("vision_lengths", "vision_lengths"),
                ("scores", "regression_labels"),
            )
        },
        index=torch.arange(len(fields["id"])),
    )  # fmt: skip
