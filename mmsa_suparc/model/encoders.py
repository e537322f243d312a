"""One vector a modality: a transformer's first token, a BiLSTM's last states."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence


class TextEncoder(nn.Module):
    """A Hugging Face encoder; the first token of its last layer.

    Args:
        transformer: any encoder whose output starts with the last hidden states (B, L, W).
        finetune: False freezes it: no gradient, and no dropout in it either.
    """

    def __init__(self, *, transformer: Any, finetune: bool = True) -> None:
        super().__init__()
        if getattr(transformer, "pooler", None) is not None:
            transformer.pooler = None  # not used here: weights that would never get a gradient
        self.transformer = transformer
        self.finetune = finetune
        self.takes_segments = "token_type_ids" in inspect.signature(transformer.forward).parameters
        if not finetune:
            transformer.requires_grad_(False)

    @property
    def width(self) -> int:
        """W, the width of the hidden states."""
        config: Any = self.transformer.config
        return int(config.hidden_size)

    def train(self, mode: bool = True) -> TextEncoder:
        super().train(mode)
        if not self.finetune:
            self.transformer.eval()
        return self

    def forward(self, text: Tensor) -> Tensor:
        """Encode tokens.

        Args:
            text: (B, 3, L): token ids, attention mask, segment ids, as in the toolkit's
                ``text_bert``; any number type.

        Returns:
            (B, W).
        """
        ids, mask, segments = text.long().unbind(dim=1)
        # A clip without a single token (a missing modality) still needs one to attend to.
        mask = mask.clone()
        mask[:, 0] = 1
        inputs = {"input_ids": ids, "attention_mask": mask}
        if self.takes_segments:
            inputs["token_type_ids"] = segments
        with torch.set_grad_enabled(self.finetune and torch.is_grad_enabled()):
            states = self.transformer(**inputs)[0]  # (B, L, W)
        return states[:, 0]


class SequenceEncoder(nn.Module):
    """A BiLSTM over packed frames; the last states of both directions.

    Args:
        width: D, values a frame.
        hidden: H, units a direction.
        layers: number of stacked layers.
        dropout: between layers, in [0, 1).
    """

    def __init__(self, *, width: int, hidden: int, layers: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.input_width = width
        self.width = 2 * hidden
        self.lstm = nn.LSTM(
            width,
            hidden,
            num_layers=layers,
            dropout=dropout if layers > 1 else 0.0,
            bidirectional=True,
            batch_first=True,
        )

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Encode sequences.

        Args:
            frames: (B, T, D).
            lengths: (B,), frames that count; a length of 0 is read as one frame of padding,
                and it is the caller who marks that modality as missing.

        Returns:
            (B, 2H): the last layer's final states, forward then backward.

        Raises:
            ValueError: D is not the width this encoder was made for. (A packed LSTM given
                another width on CPU returns changing numbers or crashes the process.)
        """
        if frames.ndim != 3 or frames.shape[-1] != self.input_width:
            raise ValueError(
                f"frames have shape {tuple(frames.shape)}; expected (B, T, {self.input_width})"
            )
        packed = pack_padded_sequence(
            frames,
            lengths.clamp(min=1, max=frames.shape[1]).to("cpu", torch.int64),
            batch_first=True,
            enforce_sorted=False,
        )
        _, (states, _) = self.lstm(packed)  # (layers * 2, B, H)
        return torch.cat([states[-2], states[-1]], dim=-1)
