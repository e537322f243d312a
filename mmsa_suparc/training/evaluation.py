"""Scores of clips and their metrics, and the text that a frozen encoder reads only once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mmsa_suparc.data.batches import Clips, places_by_length
from mmsa_suparc.errors import DivergedError
from mmsa_suparc.model import SupArc
from mmsa_suparc.progress import progress
from mmsa_suparc.training import feeding, processes
from mmsa_suparc.training.runtime import Runtime

#: Evaluates a model: (predictions (N,), scores (N,)) -> the toolkit's metrics by name.
MetricsFunction = Callable[[Tensor, Tensor], dict[str, float]]


@torch.no_grad()
def encode_text(model: SupArc, clips: Clips, runtime: Runtime, *, batch_size: int = 64) -> Clips:
    """The clips with what the frozen text encoder makes of them, computed once."""
    model.text_encoder.eval()
    order = places_by_length(clips, batch_size)
    parts = feeding.batches(clips, map(processes.part_of, order), runtime.device)
    encoded = []
    with model.text_encoder.unchanged():
        for places, batch in zip(progress(order, "encode text"), parts, strict=True):
            with runtime.autocast():
                part = model.text_encoder(batch.text, batch.layout.packing).float()
            encoded.append(processes.gather(part, len(places)))
    return replace(clips, encoded_text=_in_order(encoded, order).to(clips.device))


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
    order = places_by_length(clips, batch_size)
    made: dict[str, list[Tensor]] = {}
    parts = feeding.batches(clips, map(processes.part_of, order), runtime.device)
    with model.text_encoder.unchanged():
        for places, batch in zip(progress(order, "evaluate"), parts, strict=True):
            with runtime.autocast():
                outputs = model(
                    batch.text,
                    (batch.audio, batch.audio_lengths),
                    (batch.vision, batch.vision_lengths),
                    present,
                    batch.encoded_text,
                    batch.layout,
                )
            for name in outputs if features is not None else ("M",):
                value = processes.gather(outputs[name].float(), len(places))
                made.setdefault(name, []).append(value)
    model.train(was_training)
    kept = {name: _in_order(values, order) for name, values in made.items()}
    prediction = kept.pop("M", torch.empty(0)).reshape(-1)
    if features is not None:
        features.update(kept)
    return prediction


def _in_order(batches: list[Tensor], places: Sequence[Tensor]) -> Tensor:
    """Batches (B, ...) of the clips at these places -> (N, ...) on the CPU, read at once."""
    values = torch.cat(batches).cpu()
    ordered = torch.empty_like(values)
    ordered[torch.cat(list(places))] = values
    return ordered


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
