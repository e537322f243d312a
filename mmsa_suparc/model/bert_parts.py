"""The parts of Hugging Face's BERT-like encoders, whatever their authors call them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import nn


class Layer(NamedTuple):
    """The modules of one transformer layer, whatever its author calls them."""

    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    attended: nn.Linear
    attended_norm: nn.LayerNorm
    inner: nn.Linear
    outer: nn.Linear
    outer_norm: nn.LayerNorm


class Architecture(NamedTuple):
    """A BERT-like encoder's modules and numbers."""

    words: nn.Embedding
    positions: nn.Embedding
    segments: nn.Embedding | None
    norm: nn.LayerNorm
    layers: tuple[Layer, ...]
    heads: int
    activation: Any
    dropout: float
    attention_dropout: float
    attended_dropout: float  # behind the attention's own linear layer
    counts_from: int | None  # RoBERTa: positions count the tokens other than this one, from it


def architecture_of(transformer: Any) -> Architecture | None:
    """Of a BERT, RoBERTa or DistilBERT; None for another architecture, or one whose modules are not
    all as it was built (adapters)."""
    config, kind = transformer.config, type(transformer)
    make = _KNOWN.get(kind.__name__) if kind.__module__.startswith("transformers.") else None
    if (
        make is None
        or getattr(config, "is_decoder", False)
        or getattr(config, "position_embedding_type", "absolute") != "absolute"
        or any(
            not type(module).__module__.startswith(("transformers.", "torch.nn.modules."))
            for module in transformer.modules()
        )
    ):
        return None
    return make(transformer)


def _bert(transformer: Any) -> Architecture:
    config, embeddings = transformer.config, transformer.embeddings
    layers = [
        Layer(
            layer.attention.self.query,
            layer.attention.self.key,
            layer.attention.self.value,
            layer.attention.output.dense,
            layer.attention.output.LayerNorm,
            layer.intermediate.dense,
            layer.output.dense,
            layer.output.LayerNorm,
        )
        for layer in transformer.encoder.layer
    ]
    return Architecture(
        words=embeddings.word_embeddings,
        positions=embeddings.position_embeddings,
        segments=embeddings.token_type_embeddings,
        norm=embeddings.LayerNorm,
        layers=tuple(layers),
        heads=config.num_attention_heads,
        activation=transformer.encoder.layer[0].intermediate.intermediate_act_fn,
        dropout=config.hidden_dropout_prob,
        attention_dropout=config.attention_probs_dropout_prob,
        attended_dropout=config.hidden_dropout_prob,
        counts_from=None if type(transformer).__name__ == "BertModel" else config.pad_token_id,
    )


def _distilbert(transformer: Any) -> Architecture:
    config, embeddings = transformer.config, transformer.embeddings
    layers = [
        Layer(
            layer.attention.q_lin,
            layer.attention.k_lin,
            layer.attention.v_lin,
            layer.attention.out_lin,
            layer.sa_layer_norm,
            layer.ffn.lin1,
            layer.ffn.lin2,
            layer.output_layer_norm,
        )
        for layer in transformer.transformer.layer
    ]
    return Architecture(
        words=embeddings.word_embeddings,
        positions=embeddings.position_embeddings,
        segments=None,
        norm=embeddings.LayerNorm,
        layers=tuple(layers),
        heads=config.n_heads,
        activation=transformer.transformer.layer[0].ffn.activation,
        dropout=config.dropout,
        attention_dropout=config.attention_dropout,
        attended_dropout=0.0,
        counts_from=None,
    )


_KNOWN: dict[str, Callable[[Any], Architecture]] = {
    "BertModel": _bert, "RobertaModel": _bert, "XLMRobertaModel": _bert,
    "DistilBertModel": _distilbert,
}  # fmt: skip
