"""A BERT that computes no padding: the numbers of Hugging Face's module, with its parameters.

What differs from that module, and why it is faster (docs/performance.md has the figures):

- tokens are packed: linear layers and normalisations see the (M, W) attended tokens of a batch;
- query, key and value are one matrix product;
- where only the first token of the last layer is asked for, only that one is computed there;
- on a CPU dropout draws 16 random bits a number;
- weights are cast to the precision of the products once a step, or once for all in inference.

The attention over packed tokens is PyTorch's own variable-length kernel where there is one (CUDA,
half precision, no dropout), else a padded product within the batch.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from mmsa_suparc.model.bert_parts import Architecture, Layer, architecture_of
from mmsa_suparc.model.packing import Packing

try:
    from torch.nn.attention.varlen import varlen_attn
except ImportError:  # before torch 2.10
    varlen_attn = None  # type: ignore[assignment]

Pooling = Literal["first", "mean"]


class Weights(NamedTuple):
    """What a layer multiplies with, in the precision of the products."""

    joined: tuple[Tensor, Tensor]  # query, key and value: (3W, W), (3W,)
    attended: tuple[Tensor, Tensor]
    inner: tuple[Tensor, Tensor]
    outer: tuple[Tensor, Tensor]


class PackedBert:
    """A BERT-like encoder over packed tokens.

    Not a module: it holds no parameter of its own and reads those of the transformer at each call.

    Args:
        transformer: the encoder.
        architecture: its parts.
    """

    @classmethod
    def of(cls, transformer: Any) -> PackedBert | None:
        """None for an encoder that it does not know."""
        architecture = architecture_of(transformer)
        return None if architecture is None else cls(transformer, architecture)

    def __init__(self, transformer: Any, architecture: Architecture) -> None:
        self.transformer = transformer
        self.parts = architecture
        self._kept: tuple[Any, list[Weights]] | None = None
        self._children = [
            (module._modules, name, child)
            for module in transformer.modules()
            for name, child in module._modules.items()
        ]

    def forget(self) -> None:
        """The weights may change."""
        self._kept = None

    def is_enough(self) -> bool:
        """Whether nobody wants what only the encoder's own module does: attentions or all layers'
        states, gradient checkpointing, hooks; and no module has been replaced (adapters)."""
        config = self.transformer.config
        return not (config.output_attentions or config.output_hidden_states) and all(
            of[name] is child
            and (
                child is None
                or not (
                    child._forward_hooks
                    or child._forward_pre_hooks
                    or child.__dict__.get("gradient_checkpointing")
                )
            )
            for of, name, child in self._children
        )

    def __call__(
        self,
        ids: Tensor,
        segments: Tensor,
        packing: Packing,
        *,
        training: bool,
        pooling: Pooling,
        words: Any = None,
        unchanged: bool = False,
    ) -> Tensor:
        """Encode tokens.

        Args:
            ids: (B, L) token ids.
            segments: (B, L), of an encoder that tells sentences apart.
            packing: which of them are attended to.
            training: with dropout.
            pooling: the first token of the last layer, or the mean of its tokens.
            words: the word table; by default the encoder's own.
            unchanged: the weights are those of the last call, which then need not be cast again.

        Returns:
            (B, W).
        """
        device = ids.device.type
        precision = _precision_of_products(device)
        with torch.autocast(device, enabled=False):
            hidden = self._embed(ids, segments, packing, words or self.parts.words, training)
            weights = self._weights(precision or hidden.dtype, unchanged)
            last = len(weights) - 1
            for number, (layer, weight) in enumerate(zip(self.parts.layers, weights, strict=True)):
                only_first = number == last and pooling == "first"
                hidden = self._layer(layer, weight, hidden, packing, training, only_first)
        return hidden if pooling == "first" else _mean_of_clips(hidden, packing)

    def _embed(
        self, ids: Tensor, segments: Tensor, packing: Packing, words: Any, training: bool
    ) -> Tensor:
        """(M, W): word, position and segment vectors, normalised."""
        parts, length = self.parts, ids.shape[1]
        if parts.counts_from is None:
            places = packing.places % length
        else:
            counted = ids != parts.counts_from
            places = (counted.cumsum(dim=1) * counted + parts.counts_from).flatten()
            places = places[packing.places]
        hidden = words(ids.flatten()[packing.places]) + parts.positions(places)
        if parts.segments is not None:
            hidden = hidden + parts.segments(segments.flatten()[packing.places])
        return dropout(parts.norm(hidden), parts.dropout if training else 0.0)

    def _layer(
        self,
        layer: Layer,
        weights: Weights,
        hidden: Tensor,
        packing: Packing,
        training: bool,
        only_first: bool,
    ) -> Tensor:
        """(M, W) -> (M, W), or (B, W) where only the first token of each clip is wanted.

        The sum that goes from layer to layer stays in the precision of the normalisations.
        """
        parts, dtype = self.parts, weights.inner[0].dtype
        attended = self._attention(weights, hidden.to(dtype), packing, training, only_first)
        if only_first:
            hidden = hidden.index_select(0, packing.firsts)
        added = functional.linear(attended, *weights.attended)
        hidden = dropout(added, parts.attended_dropout if training else 0.0, onto=hidden)
        hidden = layer.attended_norm(hidden)
        inner = parts.activation(functional.linear(hidden.to(dtype), *weights.inner))
        added = functional.linear(inner, *weights.outer)
        return layer.outer_norm(dropout(added, parts.dropout if training else 0.0, onto=hidden))

    def _attention(
        self,
        weights: Weights,
        hidden: Tensor,
        packing: Packing,
        training: bool,
        only_first: bool,
    ) -> Tensor:
        """Each token attends to those of its clip; (M, W) -> (M, W), or (B, W)."""
        heads, width = self.parts.heads, hidden.shape[1]
        rate = self.parts.attention_dropout if training else 0.0
        weight, bias = weights.joined
        if only_first:
            query = functional.linear(
                hidden.index_select(0, packing.firsts), weight[:width], bias[:width]
            )
            others = functional.linear(hidden, weight[width:], bias[width:])
            key, value = _in_heads(_padded(others, packing), 2, heads)
            context = _attend(query.view(-1, heads, 1, width // heads), key, value, packing, rate)
            return context.reshape(-1, width)
        joined = functional.linear(hidden, weight, bias)  # (M, 3W)
        if (
            joined.is_cuda
            and joined.dtype != torch.float32
            and rate == 0.0
            and varlen_attn is not None
        ):
            return _attend_packed(joined, packing, heads)
        query, key, value = _in_heads(_padded(joined, packing), 3, heads)
        context = _attend(query, key, value, packing, rate)
        context = context.transpose(1, 2).reshape(-1, width)  # (B·N, W)
        return context.index_select(0, packing.back)

    def _weights(self, dtype: torch.dtype, unchanged: bool) -> list[Weights]:
        """Every layer's weights, kept where the next call may use them again."""
        if torch.is_grad_enabled() or not unchanged:
            self.forget()
            return [_weights_of(layer, dtype) for layer in self.parts.layers]
        device = self.parts.norm.weight.device
        if self._kept is None or self._kept[0] != (dtype, device):
            self._kept = (dtype, device), [_weights_of(layer, dtype) for layer in self.parts.layers]
        return self._kept[1]


def _precision_of_products(device: str) -> torch.dtype | None:
    """What autocast asks for; None outside of it."""
    if hasattr(torch, "get_autocast_dtype"):
        return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    if device == "cpu":  # before torch 2.4
        return torch.get_autocast_cpu_dtype() if torch.is_autocast_cpu_enabled() else None
    return torch.get_autocast_gpu_dtype() if torch.is_autocast_enabled() else None


def _weights_of(layer: Layer, dtype: torch.dtype) -> Weights:
    three = (layer.query, layer.key, layer.value)
    return Weights(
        (
            torch.cat([each.weight.to(dtype) for each in three]),
            torch.cat([each.bias.to(dtype) for each in three]),
        ),
        *(
            (each.weight.to(dtype), each.bias.to(dtype))
            for each in (layer.attended, layer.inner, layer.outer)
        ),
    )


def _padded(packed: Tensor, packing: Packing) -> Tensor:
    """(M, W) -> (B, N, W)."""
    rows = packed.index_select(0, packing.slots)
    return rows.view(-1, packing.longest, packed.shape[1])


def _in_heads(padded: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
    """(B, N, parts·W) -> for each part (B, H, N, W/H)."""
    clips, longest, width = padded.shape
    split = padded.view(clips, longest, parts, heads, width // parts // heads)
    return split.permute(2, 0, 3, 1, 4).unbind()


def _attend(query: Tensor, key: Tensor, value: Tensor, packing: Packing, rate: float) -> Tensor:
    """softmax(Q Kᵀ / √d) V over padded clips: (B, H, Q, d), (B, H, N, d) -> (B, H, Q, d)."""
    clips, heads, _, width = query.shape
    if query.is_cuda:
        holds = None if packing.filled is None else ~packing.filled[:, None, None]
        return functional.scaled_dot_product_attention(query, key, value, holds, rate)
    bias = query.new_zeros(1, 1, 1)
    if packing.filled is not None:
        bias = query.new_zeros(packing.filled.shape).masked_fill_(packing.filled, -math.inf)
        bias = bias.repeat_interleave(heads, dim=0)[:, None]  # (B·H, 1, N)
    query, key, value = (each.flatten(0, 1) for each in (query, key, value))
    scores = torch.baddbmm(bias, query, key.transpose(1, 2), alpha=1 / math.sqrt(width))
    context = dropout(scores.softmax(dim=-1), rate) @ value  # (B·H, Q, d)
    return context.view(clips, heads, -1, width)


def _attend_packed(joined: Tensor, packing: Packing, heads: int) -> Tensor:
    """The same without padding: query, key and value (M, 3W) -> (M, W)."""
    rows = len(joined)
    query, key, value = joined.view(rows, 3, heads, -1).unbind(1)
    # Rows that are nobody's attend to each other, as one more clip would.
    bounds = torch.cat([packing.starts, packing.starts.new_full((1,), rows)])
    longest = max(packing.longest, rows - packing.tokens)
    context: Any = varlen_attn(query, key, value, bounds, bounds, longest, longest)
    attended: Tensor = context.reshape(rows, -1)
    return attended


def _mean_of_clips(hidden: Tensor, packing: Packing) -> Tensor:
    """(M, W) -> (B, W): the mean over each clip's tokens."""
    counts = packing.starts.diff()
    clips = torch.arange(len(counts), device=hidden.device)
    clips = clips.repeat_interleave(counts, output_size=packing.tokens)
    sums = hidden.new_zeros(len(counts), hidden.shape[1])
    sums = sums.index_add(0, clips, hidden[: packing.tokens])
    return sums / counts[:, None]


def dropout(values: Tensor, rate: float, *, onto: Tensor | None = None) -> Tensor:
    """Zero each value with probability ``rate``, in steps of 2⁻¹⁶, and scale the others up.

    Args:
        values: any shape.
        rate: in [0, 1); with 0 nothing is done.
        onto: what the result is added to.
    """
    scale = 1.0
    if rate > 0.0 and values.device.type == "cpu":
        limit = round(rate * 2**16)
        bits = torch.empty(-(-values.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        bits = bits.view(torch.int16)[: values.numel()].view(values.shape)
        values = values * torch.ge(bits, limit - 2**15, out=torch.empty_like(values))
        scale = 2**16 / (2**16 - limit)
    elif rate > 0.0:
        values = functional.dropout(values, rate)
    if onto is not None:
        return torch.add(onto, values, alpha=scale)
    return values * scale if scale != 1.0 else values
