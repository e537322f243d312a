"""One vector a modality: a transformer's first token, a BiLSTM's last states."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn


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
        self.takes_segments = takes_segments(transformer)
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


def full_precision(tensor: Tensor) -> torch.autocast:
    """Within this block nothing is computed in mixed precision, on the tensor's device."""
    return torch.autocast(device_type=tensor.device.type, enabled=False)


def takes_segments(transformer: Any) -> bool:
    """Whether a Hugging Face encoder tells sentences apart (``token_type_ids``)."""
    return "token_type_ids" in inspect.signature(transformer.forward).parameters


class SequenceEncoder(nn.Module):
    """A BiLSTM over sequences of varying length; the last states of both directions.

    The same numbers as a bidirectional ``nn.LSTM`` over packed sequences. Each direction is an
    LSTM of its own over padded frames, the second one over each clip's own frames in reverse
    order, so that padding comes last for both and is never looked at. Packing instead makes
    PyTorch step through time in small operations on a CPU, four times slower.

    Args:
        width: D, values a frame.
        hidden: H, units a direction.
        layers: number of stacked layers.
    """

    def __init__(self, *, width: int, hidden: int, layers: int = 1) -> None:
        super().__init__()
        self.input_width = width
        self.width = 2 * hidden
        widths = [width] + [2 * hidden] * (layers - 1)
        self.ahead = nn.ModuleList(nn.LSTM(w, hidden, batch_first=True) for w in widths)
        self.back = nn.ModuleList(nn.LSTM(w, hidden, batch_first=True) for w in widths)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Encode sequences.

        Args:
            frames: (B, T, D).
            lengths: (B,), frames that count; a length of 0 is read as one frame of padding,
                and it is the caller who marks that modality as missing.

        Returns:
            (B, 2H): the last layer's final states, forward then backward.

        Raises:
            ValueError: D is not the width this encoder was made for. (An LSTM given another
                width on a CPU can return changing numbers or crash the process.)
        """
        if frames.ndim != 3 or frames.shape[-1] != self.input_width:
            raise ValueError(
                f"frames have shape {tuple(frames.shape)}; expected (B, T, {self.input_width})"
            )
        last = lengths.to(frames.device).clamp(min=1, max=frames.shape[1]) - 1  # (B,)
        mirror = last[:, None] - torch.arange(frames.shape[1], device=frames.device)  # (B, T)
        mirror = mirror.clamp(min=0)
        states = frames.float()
        # Small, and many CPUs have no bf16 kernel for it.
        with full_precision(frames):
            for ahead, back in zip(self.ahead, self.back, strict=True):
                onward, _ = ahead(states)  # (B, T, H)
                reverse, _ = back(_take(states, mirror))  # (B, T, H), in reverse order
                states = torch.cat([onward, _take(reverse, mirror)], dim=-1)
        return torch.cat([_take(onward, last[:, None]), _take(reverse, last[:, None])], -1)[:, 0]


def _take(sequence: Tensor, places: Tensor) -> Tensor:
    """sequence (B, T, D) at places (B, P) -> (B, P, D)."""
    return sequence.gather(1, places[:, :, None].expand(-1, -1, sequence.shape[-1]))
