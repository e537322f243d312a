"""One vector a modality: a transformer's first token, a BiLSTM's last states."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from mmsa_suparc.model.frames import FramePooling, SequencePooling, Standardise
from mmsa_suparc.model.packed_bert import PackedBert, Pooling
from mmsa_suparc.model.packing import Packing, pack
from mmsa_suparc.model.word_rows import WordRows


class TextEncoder(nn.Module):
    """A Hugging Face encoder; the first token of its last layer, or the mean of its tokens.

    A BERT, RoBERTa or DistilBERT is computed without padding (:mod:`packed_bert`), with the
    same parameters and to the same numbers; its own module computes where that is not possible.

    Args:
        transformer: any encoder whose output starts with the last hidden states (B, L, W).
        finetune: False freezes it: no gradient, and no dropout in it either.
        pooling: ``first`` token or ``mean`` of the attended ones.
        fast: False leaves it to the encoder's own module always.
    """

    def __init__(
        self,
        *,
        transformer: Any,
        finetune: bool = True,
        pooling: Pooling = "first",
        fast: bool = True,
    ) -> None:
        super().__init__()
        if getattr(transformer, "pooler", None) is not None:
            transformer.pooler = None  # not used here: weights that would never get a gradient
        self.transformer = transformer
        self.finetune = finetune
        self.pooling: Pooling = pooling
        self.fast = fast
        self.takes_segments = takes_segments(transformer)
        self.words: WordRows | None = None
        self.weights_change = True
        self._packed: PackedBert | None = None
        if not finetune:
            transformer.requires_grad_(False)

    @property
    def width(self) -> int:
        """W, the width of the hidden states."""
        config: Any = self.transformer.config
        return int(config.hidden_size)

    @property
    def packed(self) -> PackedBert | None:
        """What computes it without padding; None where its own module has to."""
        if not self.fast:
            return None
        if self._packed is None or self._packed.transformer is not self.transformer:
            self._packed = PackedBert.of(self.transformer)
        return self._packed if self._packed is not None and self._packed.is_enough() else None

    def train(self, mode: bool = True) -> TextEncoder:
        super().train(mode)
        if not self.finetune:
            self.transformer.eval()
        if not mode and self.words is not None:
            self.words.write_back()
        return self

    @contextlib.contextmanager
    def unchanged(self) -> Iterator[None]:
        """Within this block the weights stay as they are, and are prepared once for all calls."""
        before, self.weights_change = self.weights_change, False
        try:
            yield
        finally:
            self.weights_change = before
            if before and self._packed is not None:
                self._packed.forget()

    def train_only(self, ids: Tensor) -> None:
        """Until :meth:`train_all`, only these words' rows of the word table are trained, and only
        clips of these words are trained on; see :class:`WordRows`.

        Nothing happens where the encoder is frozen, or its own module computes it.
        """
        self.train_all()
        packed = self.packed
        if packed is not None and self.finetune:
            self.words = WordRows(packed.parts.words, ids)

    def train_all(self) -> None:
        """The whole word table is trained."""
        if self.words is not None:
            self.words.give_back()
            self.words = None

    def forward(self, text: Tensor, packing: Packing | None = None) -> Tensor:
        """Encode tokens.

        Args:
            text: (B, 3, L): token ids, attention mask, segment ids, as in the toolkit's
                ``text_bert``; any number type.
            packing: of the attended tokens, where it is known already.

        Returns:
            (B, W).
        """
        ids, mask, segments = text.long().unbind(dim=1)
        packed = self.packed
        with torch.set_grad_enabled(self.finetune and torch.is_grad_enabled()):
            if packed is None:
                return self.by_its_module(text)
            if packing is None:
                packing = pack(mask.cpu() > 0).map(lambda part: part.to(text.device))
            words = self.words if self.training else None
            return packed(
                ids, segments, packing,
                training=self.transformer.training, pooling=self.pooling, words=words,
                unchanged=not self.weights_change,
            )  # fmt: skip

    def by_its_module(self, text: Tensor) -> Tensor:
        """:meth:`forward` by the encoder's own module, with the padding."""
        ids, mask, segments = text.long().unbind(dim=1)
        # A clip without a single token (a missing modality) still needs one to attend to.
        first = torch.arange(mask.shape[1], device=mask.device) == 0
        mask = torch.where(first, 1, mask)
        inputs = {"input_ids": ids, "attention_mask": mask}
        if self.takes_segments:
            inputs["token_type_ids"] = segments
        states = self.transformer(**inputs)[0]  # (B, L, W)
        if self.pooling == "first":
            return states[:, 0]
        return (states * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)


def side_by_side(device: torch.device, *parts: Callable[[], Tensor]) -> list[Tensor]:
    """What these functions give; on a GPU all but the last compute on streams of their own."""
    if device.type != "cuda":
        return [part() for part in parts]
    here = torch.cuda.current_stream(device)
    aside = [torch.cuda.Stream(device) for _ in parts[1:]]
    made = []
    for stream, part in zip(aside, parts, strict=False):
        stream.wait_stream(here)
        with torch.cuda.stream(stream):
            made.append(part())
    made.append(parts[-1]())
    for stream, tensor in zip(aside, made, strict=False):
        here.wait_stream(stream)
        tensor.record_stream(here)
    return made


def full_precision(tensor: Tensor) -> torch.autocast:
    """Within this block nothing is computed in mixed precision, on the tensor's device."""
    return torch.autocast(device_type=tensor.device.type, enabled=False)


def takes_segments(transformer: Any) -> bool:
    """Whether a Hugging Face encoder tells sentences apart (``token_type_ids``)."""
    return "token_type_ids" in inspect.signature(transformer.forward).parameters


class SequenceEncoder(nn.Module):
    """A BiLSTM over sequences of varying length; the last states of both directions, or all pooled.

    The same numbers as a bidirectional ``nn.LSTM`` over packed sequences, and on a GPU just that
    where the host knows the lengths. Elsewhere each direction is an LSTM of its own over padded
    frames, the second one over each clip's own frames in reverse order, so that padding comes
    last for both and is never looked at: over packed sequences PyTorch steps through time in
    small operations on a CPU, four times slower.

    Args:
        width: D, values a frame.
        hidden: H, units a direction.
        layers: number of stacked layers.
        pooling: of the last layer's states: the ``last`` ones, their ``mean``, or ``attention``
            by a learned query; padding never counts.
        standardise: frames are standardised by what :meth:`learn_scale` found.
    """

    def __init__(
        self,
        *,
        width: int,
        hidden: int,
        layers: int = 1,
        pooling: SequencePooling = "last",
        standardise: bool = False,
    ) -> None:
        super().__init__()
        self.input_width = width
        self.width = 2 * hidden
        widths = [width] + [2 * hidden] * (layers - 1)
        self.ahead = nn.ModuleList(nn.LSTM(w, hidden, batch_first=True) for w in widths)
        self.back = nn.ModuleList(nn.LSTM(w, hidden, batch_first=True) for w in widths)
        self.standardise = Standardise(width) if standardise else None
        self.pooling = None if pooling == "last" else FramePooling(pooling, 2 * hidden)
        self._joined: tuple[Any, nn.LSTM] | None = None

    def learn_scale(self, frames: Tensor, lengths: Tensor) -> None:
        """Take mean and scale from a training split: frames (N, T, D), lengths (N,); nothing
        happens where frames are not standardised."""
        if self.standardise is not None:
            self.standardise.learn(frames, lengths)

    def forward(
        self, frames: Tensor, lengths: Tensor, host_lengths: Tensor | None = None
    ) -> Tensor:
        """Encode sequences.

        Args:
            frames: (B, T, D), of any floating type.
            lengths: (B,), frames that count; a length of 0 is read as one frame of padding,
                and it is the caller who marks that modality as missing.
            host_lengths: the same on the CPU.

        Returns:
            (B, 2H): the last layer's final states, or its pooled ones; forward then backward.

        Raises:
            ValueError: D is not the width this encoder was made for. (An LSTM given another
                width on a CPU can return changing numbers or crash the process.)
        """
        if frames.ndim != 3 or frames.shape[-1] != self.input_width:
            raise ValueError(
                f"frames have shape {tuple(frames.shape)}; expected (B, T, {self.input_width})"
            )
        # Small, and many CPUs have no bf16 kernel for it.
        with full_precision(frames):
            frames = frames.float()
            if self.standardise is not None:
                frames = self.standardise(frames)
            if frames.is_cuda and host_lengths is not None:
                return self.over_packed(frames, host_lengths, lengths)
            return self._over_padded(frames, lengths)

    def _over_padded(self, states: Tensor, lengths: Tensor) -> Tensor:
        last = lengths.to(states.device).clamp(min=1, max=states.shape[1]) - 1  # (B,)
        mirror = last[:, None] - torch.arange(states.shape[1], device=states.device)  # (B, T)
        mirror = mirror.clamp(min=0)
        for ahead, back in zip(self.ahead, self.back, strict=True):
            onward, _ = ahead(states)  # (B, T, H)
            reverse, _ = back(_take(states, mirror))  # (B, T, H), in reverse order
            states = torch.cat([onward, _take(reverse, mirror)], dim=-1)
        if self.pooling is not None:
            return self.pooling(states, lengths)
        return torch.cat([_take(onward, last[:, None]), _take(reverse, last[:, None])], -1)[:, 0]

    def over_packed(
        self, frames: Tensor, host_lengths: Tensor, lengths: Tensor | None = None
    ) -> Tensor:
        """:meth:`forward` by one bidirectional LSTM over packed sequences: cuDNN's own form.

        Args:
            frames: (B, T, D) float32, standardised.
            host_lengths: (B,), on the CPU.
            lengths: the same where the frames are.
        """
        packed = nn.utils.rnn.pack_padded_sequence(
            frames, host_lengths.clamp(min=1, max=frames.shape[1]),
            batch_first=True, enforce_sorted=False,
        )  # fmt: skip
        states, (final, _) = self._bidirectional()(packed)  # final: (2 · layers, B, H)
        if self.pooling is not None:
            padded, _ = nn.utils.rnn.pad_packed_sequence(states, batch_first=True)  # (B, T, 2H)
            return self.pooling(padded, host_lengths if lengths is None else lengths)
        return torch.cat([final[-2], final[-1]], dim=-1)

    def _bidirectional(self) -> nn.LSTM:
        """A bidirectional LSTM of this encoder's own parameters; made anew where they moved."""
        directions = (("", self.ahead), ("_reverse", self.back))
        own = {
            f"{name.removesuffix('0')}{number}{suffix}": parameter
            for suffix, layers in directions
            for number, layer in enumerate(layers)
            for name, parameter in layer.named_parameters()
        }
        where = [parameter.data_ptr() for parameter in own.values()]
        if self._joined is None or self._joined[0] != where:
            lstm = nn.LSTM(
                self.input_width, self.width // 2, len(self.ahead),
                batch_first=True, bidirectional=True, device="meta",
            )  # fmt: skip
            for name, parameter in own.items():
                setattr(lstm, name, parameter)
            lstm.flatten_parameters()  # moves them, on a GPU, into one piece of memory
            where = [parameter.data_ptr() for parameter in own.values()]
            object.__setattr__(self, "_joined", (where, lstm))  # not a part of this module
        assert self._joined is not None
        return self._joined[1].train(self.training)


def _take(sequence: Tensor, places: Tensor) -> Tensor:
    """sequence (B, T, D) at places (B, P) -> (B, P, D)."""
    return sequence.gather(1, places[:, :, None].expand(-1, -1, sequence.shape[-1]))
