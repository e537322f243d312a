"""Scores of clips and their metrics, and the text that a frozen encoder reads only once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mmsa_suparc.data.batches import Clips, places_by_length
from mmsa_suparc.errors import DivergedError
from mmsa_suparc.model import SupArc
from mmsa_suparc.progress import progress
from mmsa_suparc.training import processes
from mmsa_suparc.training.runtime import Runtime

#: Evaluates a model: (predictions (N,), scores (N,)) -> the toolkit's metrics by name.
MetricsFunction = Callable[[Tensor, Tensor], dict[str, float]]


@torch.no_grad()
def encode_text(model: SupArc, clips: Clips, runtime: Runtime, *, batch_size: int = 64) -> Clips:
    """The clips with what the frozen text encoder makes of them, computed once."""
    encoded = torch.empty(len(clips), model.text_encoder.width)
    model.text_encoder.eval()
    for places in progress(places_by_length(clips, batch_size), "encode text"):
        text = runtime.to_device(clips.take(processes.part_of(places)).text)
        with runtime.autocast():
            part = model.text_encoder(text).float()
        encoded[places] = processes.gather(part, len(places)).cpu()
    return replace(clips, encoded_text=encoded)


@torch.inference_mode()
def predict(
    model: SupArc,
    clips: Clips,
    runtime: Runtime,
    *,
    batch_size: int,
    present: Any = None,
    features: dict[str, Tensor] | None = None,
) -> Tensor:
    """Scores (N,) float32 on the CPU, in the order of the clips.

    Clips of about one length are computed together.

    Args:
        present: the modalities kept; see :meth:`SupArc.fuse`.
        features: is filled with the model's other outputs, (N, ...) each.
    """
    was_training = model.training
    model.eval()
    kept = {} if features is None else features
    for places in progress(places_by_length(clips, batch_size), "evaluate"):
        batch = clips.take(processes.part_of(places)).map(runtime.to_device)
        with runtime.autocast():
            outputs = model(
                batch.text,
                (batch.audio, batch.audio_lengths),
                (batch.vision, batch.vision_lengths),
                present,
                batch.encoded_text,
            )
        for name in outputs if features is not None else ("M",):
            value = processes.gather(outputs[name].float(), len(places)).cpu()
            kept.setdefault(name, value.new_empty(len(clips), *value.shape[1:]))[places] = value
    model.train(was_training)
    return kept.pop("M").reshape(-1) if kept else torch.empty(0)


def evaluate(prediction: Tensor, scores: Tensor, metrics: MetricsFunction) -> dict[str, float]:
    """The toolkit's metrics and ``Loss``, the MAE over all clips (not a mean of batch means).

    Raises:
        DivergedError: a prediction is not finite: the toolkit would give it a normal accuracy.
    """
    wrong = int((~torch.isfinite(prediction)).sum())
    if wrong:
        raise DivergedError(
            f"{wrong} of {len(prediction)} predictions are not finite; lower the learning rates"
        )
    measured = {name: float(value) for name, value in metrics(prediction, scores).items()}
    measured["Loss"] = float((prediction - scores).abs().mean())
    return measured
