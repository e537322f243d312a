"""A trained SupArc as a file that runs without this package: ONNX or torch.export.

Inputs, in this order (B clips, any T_a, T_v and L):

- ``text``: (B, 3, L) int64 token ids, mask, segments with the text encoder in the file, or
  ``text_vector``: (B, W) float32, the encoder's first token, without it;
- ``audio`` (B, T_a, D_a) float32, ``vision`` (B, T_v, D_v) float32, normalised as in training;
- ``audio_lengths`` (B,), ``vision_lengths`` (B,) int64, frames that count, 0 where missing;
- ``present`` (B, 3) bool: text, audio, vision to be used.

Outputs: ``score`` (B,) and ``fusion`` (B, D).
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from mmsa_suparc import extras
from mmsa_suparc.data.files import write_atomically
from mmsa_suparc.errors import UserError
from mmsa_suparc.model import SupArc
from mmsa_suparc.model.suparc import Encodings
from mmsa_suparc.runs.servable import Serving

Format = Literal["onnx", "torch"]
NAMES = ("audio", "vision", "audio_lengths", "vision_lengths", "present")
#: Clips and frames that the file takes at most.
LONGEST = 10_000


class Exported(nn.Module):
    """SupArc from arrays to a score, without anything optional.

    Args:
        model: trained, in evaluation mode.
        with_text_encoder: whether tokens go in, or the text encoder's vector.
    """

    def __init__(self, model: SupArc, *, with_text_encoder: bool) -> None:
        super().__init__()
        self.model = copy.copy(model)
        text_encoder: nn.Module = nn.Identity()  # nor its weights in the file
        if with_text_encoder:
            text_encoder = copy.copy(model.text_encoder)
            text_encoder.fast = False  # its own module has shapes that the inputs' alone decide
        self.model._modules = {**model._modules, "text_encoder": text_encoder}
        self.with_text_encoder = with_text_encoder

    def forward(
        self,
        text: Tensor,
        audio: Tensor,
        vision: Tensor,
        audio_lengths: Tensor,
        vision_lengths: Tensor,
        present: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """See the module's docstring."""
        model = self.model
        encodings = Encodings(
            text=model.text_encoder(text) if self.with_text_encoder else text,
            audio=model.audio_encoder(audio, audio_lengths),
            vision=model.vision_encoder(vision, vision_lengths),
            present=torch.stack(
                [present[:, 0], present[:, 1] & (audio_lengths > 0),
                 present[:, 2] & (vision_lengths > 0)], dim=1
            ) & model.used,
        )  # fmt: skip
        fusion = model.fuse(encodings)
        return model.predict(fusion)[:, 0], fusion


def example(serving: Serving, *, with_text_encoder: bool) -> tuple[Tensor, ...]:
    """Inputs of the right shapes: two clips."""
    widths = serving.widths
    text: Tensor = torch.zeros(2, serving.model.text_encoder.width)
    if with_text_encoder:
        text = torch.ones(2, 3, 7, dtype=torch.int64)
        text[:, 2] = 0
    return (
        text,
        torch.randn(2, 9, widths["audio"]),
        torch.randn(2, 5, widths["vision"]),
        torch.tensor([9, 4]),
        torch.tensor([5, 3]),
        torch.ones(2, 3, dtype=torch.bool),
    )


def export(serving: Serving, path: Path, *, kind: Format, with_text_encoder: bool) -> None:
    """Write the file, whole or not at all. Once a process: what PyTorch registers to keep an LSTM's
    loop a loop does not work a second time.

    Args:
        serving: the model.
        path: the file.
        kind: ``onnx``, or ``torch`` for ``torch.export.load``.
        with_text_encoder: put the text encoder into it.

    Raises:
        UserError: ONNX is not installed, or PyTorch is too old.
    """
    module = Exported(serving.model, with_text_encoder=with_text_encoder).eval()
    inputs = example(serving, with_text_encoder=with_text_encoder)
    clips = torch.export.Dim("clips", min=1, max=LONGEST)
    frames = [torch.export.Dim(name, min=1, max=LONGEST) for name in ("frames_a", "frames_v")]
    most = getattr(serving.model.text_encoder.transformer.config, "max_position_embeddings", 512)
    tokens = torch.export.Dim("tokens", min=1, max=most)
    shapes = (
        {0: clips, 2: tokens} if with_text_encoder else {0: clips},
        {0: clips, 1: frames[0]}, {0: clips, 1: frames[1]}, {0: clips}, {0: clips}, {0: clips},
    )  # fmt: skip
    content = io.BytesIO()
    with _quiet():
        if kind == "torch":
            with _lstm_of_any_length():
                program = torch.export.export(module, inputs, dynamic_shapes=shapes)
            torch.export.save(program, content)
        else:
            content.write(_onnx(module, inputs, shapes))
    write_atomically(path, lambda file: file.write(content.getvalue()))


def _onnx(module: Exported, inputs: tuple[Tensor, ...], shapes: tuple[dict, ...]) -> bytes:
    extras.require("onnxscript", "--format onnx")
    program = torch.onnx.export(
        module, inputs, dynamo=True, dynamic_shapes=shapes, verbose=False,
        input_names=["text" if module.with_text_encoder else "text_vector", *NAMES],
        output_names=["score", "fusion"],
    )  # fmt: skip
    assert program is not None
    content: bytes = program.model_proto.SerializeToString()
    return content


def _lstm_of_any_length() -> contextlib.AbstractContextManager[None]:
    """Keeps an LSTM's loop over frames a loop; unrolled it would fix their number.

    Raises:
        UserError: this PyTorch cannot do it yet.
    """
    try:
        from torch.export._patches import register_lstm_while_loop_decomposition
    except ImportError:
        raise UserError(
            f"torch {torch.__version__} cannot export sequences of any length; take a newer one"
        ) from None
    kept: contextlib.AbstractContextManager[None] = register_lstm_while_loop_decomposition()
    return kept


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What the exporters say of their own internals."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "torch.export")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
