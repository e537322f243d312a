"""What the losses do to a trained model: the pairs and gradients of its own batches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmsa_suparc.config import SupArcConfig
from mmsa_suparc.data.batches import Clips, batch_places
from mmsa_suparc.losses import SupArcLoss
from mmsa_suparc.losses.diagnostics import (
    gradient_diagnostics,
    idle_terms,
    pair_diagnostics,
    pair_sums,
    term_gradients,
)
from mmsa_suparc.model import SupArc
from mmsa_suparc.model.suparc import Encodings
from mmsa_suparc.names import ONE_MASKED, TWO_MASKED
from mmsa_suparc.training.evaluation import predict
from mmsa_suparc.training.loop import contrastive_batch_size, make_objective
from mmsa_suparc.training.runtime import Runtime

#: Of the order of the clips.
SEED = 0


def diagnose(model: SupArc, clips: Clips, config: SupArcConfig, runtime: Runtime) -> dict[str, Any]:
    """Diagnostics of a split in evaluation mode, by batches as the training draws them.

    Args:
        model: trained.
        clips: a split.
        config: the losses' numbers and the size of a batch.
        runtime: where it computes.

    Returns:
        As JSON holds it: ``clips``, ``batch`` (their numbers), ``pairs`` (None for a rival of
        SupArc), ``norms``, ``cosines`` and ``warnings``; see
        :mod:`mmsa_suparc.losses.diagnostics`.
    """
    objective = make_objective(config)
    encodings = _encoded(model, clips, config, runtime)
    scores = clips.scores.to(encodings.text.device).float()
    subsets = torch.tensor([(True,) * 3, *ONE_MASKED, *TWO_MASKED], device=scores.device)[:, None]
    size = contrastive_batch_size(config)
    order = torch.Generator().manual_seed(SEED)
    pairs, gradients = [], []
    was_training = model.training
    model.eval()
    for places in batch_places(clips, size, generator=order, by_length=config.bucket_by_length):
        here = places.to(scores.device)
        with torch.no_grad():
            fusion = model.fuse(Encodings(*(part[here] for part in encodings)), subsets)
        if isinstance(objective.suparc, SupArcLoss):
            pairs.append(pair_sums(fusion[0], scores[here], objective.suparc))
        gradients.append(term_gradients(objective, model.predict, fusion, scores[here]))
    model.train(was_training)
    of_pairs = pair_diagnostics(pairs) if pairs else None
    of_gradients = gradient_diagnostics(gradients)
    has_margin = config.margin > 0 and config.margin_on != "none"
    return {
        "clips": len(clips),
        "batch": size,
        "pairs": of_pairs,
        **of_gradients,
        "warnings": idle_terms(of_pairs, of_gradients["norms"], has_margin=has_margin),
    }


def _encoded(model: SupArc, clips: Clips, config: SupArcConfig, runtime: Runtime) -> Encodings:
    """All clips' encodings, on the device."""
    features: dict[str, Tensor] = {}
    predict(model, clips, runtime, batch_size=config.evaluation_batch_size, features=features)
    present = model.presence(
        clips.text.to(runtime.device), clips.audio_lengths, clips.vision_lengths
    )
    # Copies: what was made in inference mode has no gradient even after it.
    text, audio, vision = (
        features[name].to(runtime.device, copy=True)
        for name in ("Feature_t", "Feature_a", "Feature_v")
    )
    return Encodings(text, audio, vision, present)
