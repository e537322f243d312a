"""What one batch costs: the losses of a training step, and their gradient."""

from __future__ import annotations

from itertools import compress
from typing import Any

import torch
from torch import Tensor, nn

from mmsa_suparc.data.batches import Clips
from mmsa_suparc.losses import Objective
from mmsa_suparc.model import SupArc
from mmsa_suparc.model.suparc import Encodings
from mmsa_suparc.names import ONE_MASKED, TWO_MASKED
from mmsa_suparc.training import processes
from mmsa_suparc.training.runtime import Runtime

Losses = tuple[Tensor, dict[str, Tensor]]


class TrainingStep(nn.Module):
    """A batch in, the total loss and its terms out: encoders once, the complete fusion, and the
    six masked ones in one call.

    Args:
        model: the network.
        objective: the losses.
        mask_rate: with this probability each modality of a clip is masked for its prediction
            (not for the other losses), at least one is kept; an augmentation to compare with.
    """

    subsets: Tensor
    #: Of the last batch, which clips' scores were finite: (B,) bool, on the device.
    finite: Tensor

    def __init__(self, model: SupArc, objective: Objective, *, mask_rate: float = 0.0) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        self.mask_rate = mask_rate
        subsets = torch.tensor(ONE_MASKED + TWO_MASKED, device=model.used.device)[:, None]
        self.register_buffer("subsets", subsets, persistent=False)  # (6, 1, 3) bool

    def forward(self, clips: Clips, batch_size: int | None = None) -> Losses:
        """The losses of a batch.

        Args:
            clips: this process's part of it; the whole batch where there is one process.
            batch_size: B, the clips of the whole batch.
        """
        return self.losses(self.encode(clips), clips.scores, batch_size or len(clips))

    def encode(self, clips: Clips) -> Encodings:
        """Run the encoders."""
        return self.model.encode(
            clips.text,
            clips.audio,
            clips.vision,
            clips.audio_lengths,
            clips.vision_lengths,
            clips.encoded_text,
            clips.layout,
        )

    def losses(self, encodings: Encodings, scores: Tensor, batch_size: int) -> Losses:
        """The losses of the whole batch, from this process's part of the encodings."""
        model, objective = self.model, self.objective
        fusion, fused = self._fused(encodings)
        prediction = model.predict(fusion if not self.mask_rate else self._augmented(encodings))
        parts = [prediction, fusion, scores[:, None]]
        if objective.needs_masked:
            if fused is None:
                fused = model.fuse(encodings, self.subsets)  # (6, B/N, D)
            parts.append(fused.transpose(0, 1).flatten(1))
            if objective.weight_masked > 0:
                parts.append(model.predict(fused)[..., 0].T)
        whole = gathered(parts, batch_size)
        masked = masked_prediction = None
        if objective.needs_masked:
            fused = whole[3].unflatten(1, (len(self.subsets), -1)).transpose(0, 1)  # (6, B, D)
            one_masked, two_masked = fused.split(len(ONE_MASKED))
            masked = (one_masked, two_masked)
            if objective.weight_masked > 0:
                masked_prediction = whole[4].T  # (6, B)
        total, terms = objective(*whole[:2], whole[2][:, 0], masked, masked_prediction)
        if processes.count() > 1:
            # A part that only fills up the batch has a gradient too: zero.
            total = total + 0.0 * prediction.sum()
        self.finite = torch.isfinite(whole[0][:, 0].detach())
        return total, terms

    def _fused(self, encodings: Encodings) -> tuple[Tensor, Tensor | None]:
        """The complete fusion vectors (B/N, D) and, where they share a dropout mask, which they do
        within one call, the masked ones (6, B/N, D)."""
        if not (self.model.shared_dropout and self.objective.needs_masked):
            return self.model.fuse(encodings), None
        complete = torch.ones_like(self.subsets[:1])
        every = self.model.fuse(encodings, torch.cat([complete, self.subsets]))
        return every[0], every[1:]

    def _augmented(self, encodings: Encodings) -> Tensor:
        """Fusion vectors with modalities masked at random; who would keep none keeps all."""
        kept = torch.rand_like(encodings.present, dtype=torch.float32) >= self.mask_rate
        kept |= ~(kept & encodings.present).any(dim=1, keepdim=True)
        return self.model.fuse(encodings, kept)


def gathered(parts: list[Tensor], batch_size: int) -> list[Tensor]:
    """This process's rows (B/N, W) of each -> those of the whole batch (B, W), in one exchange."""
    if processes.count() == 1:
        return parts
    whole = processes.gather(torch.cat([part.float() for part in parts], dim=1), batch_size)
    return list(whole.split([part.shape[1] for part in parts], dim=1))


def backward_in_parts(
    step: TrainingStep, parts: list[Clips], runtime: Runtime, accelerator: Any, weight: float
) -> Losses:
    """The losses and gradient of one large batch, with the encoders' memory of a small one.

    First all parts are encoded without a graph, and the losses of the whole batch give the
    gradient with respect to the encodings; then each part is encoded again, with the same
    random numbers, and that gradient goes on into the encoders. The encoders' forward pass is
    computed twice, and the pairs of the contrastive loss are those of the whole batch.

    Source: Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited
    Setup" (RepL4NLP 2021), gradient caching.

    Args:
        parts: the batch, cut.
        weight: on the loss whose gradient is computed.
    """
    generators, encoded = [], []
    with torch.no_grad():
        for part in parts:
            generators.append(runtime.generators())
            with runtime.autocast():
                encoded.append(step.encode(part))
    cached = Encodings(*(torch.cat(tensors) for tensors in zip(*encoded, strict=True)))
    leaves = cached[:3]
    for leaf in leaves:
        leaf.requires_grad_(True)
    scores = torch.cat([part.scores for part in parts])
    with runtime.autocast():
        total, terms = step.losses(cached, scores, len(scores))
    accelerator.backward(total * weight)
    sizes = [len(part) for part in parts]
    gradients = zip(*(leaf.grad.split(sizes) for leaf in leaves), strict=True)  # type: ignore[union-attr]
    for part, generator, gradient in zip(parts, generators, gradients, strict=True):
        with runtime.repeating(generator), runtime.autocast():
            encodings = step.encode(part)
        learns = [encoding.requires_grad for encoding in encodings[:3]]  # a frozen one does not
        torch.autograd.backward(
            list(compress(encodings[:3], learns)), list(compress(gradient, learns))
        )
    return total, terms
