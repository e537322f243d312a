"""AdamW with a learning rate a part of the network, and the schedule of those rates."""

from __future__ import annotations

import torch
from torch import nn

from mmsa_suparc.config import SupArcConfig
from mmsa_suparc.model import SupArc
from mmsa_suparc.training.runtime import Runtime


def make_optimiser(model: SupArc, config: SupArcConfig, runtime: Runtime) -> torch.optim.AdamW:
    """AdamW with a learning rate each for text, audio, vision and the rest.

    Biases and normalisation weights (fewer than two axes) do not decay.
    """
    rates = {
        "text_encoder": config.learning_rate_text,
        "audio_encoder": config.learning_rate_audio,
        "vision_encoder": config.learning_rate_vision,
        "other": config.learning_rate_other,
    }
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            part = name.split(".")[0]
            decays = parameter.ndim >= 2
            groups.setdefault((part if part in rates else "other", decays), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": rates[part],
                "weight_decay": config.weight_decay if decays else 0.0,
            }
            for (part, decays), parameters in groups.items()
        ],
        fused=runtime.fuses_optimiser,
    )


def make_schedule(
    optimiser: torch.optim.Optimizer, *, steps: int, warmup: float
) -> torch.optim.lr_scheduler.LambdaLR:
    """The rates of ``steps`` steps; see :func:`warm_up_then_decay`."""
    return torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: warm_up_then_decay(step, steps, warmup)
    )


def warm_up_then_decay(step: int, steps: int, warmup: float) -> float:
    """The factor on the learning rates: linear up over a share of the steps, then to zero.

    As transformers' ``get_linear_schedule_with_warmup``, but the first step counts: there its
    rate is 0.
    """
    rising = max(1, round(steps * warmup))
    if step < rising:
        return (step + 1) / rising
    return max(0.0, (steps - step) / max(1, steps - rising))
