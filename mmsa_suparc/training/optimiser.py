"""AdamW with a learning rate a part of the network, and the schedule of those rates."""

from __future__ import annotations

import math
import re
from typing import Literal

import torch
from torch import nn

from mmsa_suparc.config import SupArcConfig
from mmsa_suparc.errors import ConfigError
from mmsa_suparc.model import SupArc
from mmsa_suparc.training.runtime import Runtime

Schedule = Literal["linear", "cosine"]
#: The number of a transformer's layer, in the name of a parameter.
LAYER = re.compile(r"\.(?:layers?|blocks?)\.(\d+)\.")


def make_optimiser(model: SupArc, config: SupArcConfig, runtime: Runtime) -> torch.optim.AdamW:
    """AdamW with a learning rate each for text, audio, vision and the rest.

    Biases and normalisation weights (fewer than two axes) do not decay. With ``layer_decay`` d
    the text encoder's rate falls with the distance from its top; see :func:`layer_factors`.

    Raises:
        ConfigError: there is a ``layer_decay``, and no layer in the text encoder.
    """
    factors = layer_factors(model.text_encoder, config.layer_decay)
    rates = {
        "text_encoder": config.learning_rate_text,
        "audio_encoder": config.learning_rate_audio,
        "vision_encoder": config.learning_rate_vision,
        "other": config.learning_rate_other,
    }
    groups: dict[tuple[str, bool, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            part = name.split(".")[0]
            factor = factors.get(name.partition(".")[2], 1.0) if part == "text_encoder" else 1.0
            group = (part if part in rates else "other", parameter.ndim >= 2, factor)
            groups.setdefault(group, []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": rates[part] * factor,
                "weight_decay": config.weight_decay if decays else 0.0,
            }
            for (part, decays, factor), parameters in groups.items()
        ],
        fused=runtime.fuses_optimiser,
    )


def layer_factors(encoder: nn.Module, decay: float) -> dict[str, float]:
    """The factors on a transformer's learning rate by the names of its parameters.

    Formula: d^(L − 1 − l) for layer l = 0 … L − 1, d^L for the embeddings, 1 for what is on top.

    Args:
        encoder: a text encoder, whose parameters' names number its layers.
        decay: d, in (0, 1]; 1: the factors are 1.

    Raises:
        ConfigError: d is not 1, and no name numbers a layer.

    Source:
        Discriminative fine-tuning: Howard and Ruder, ULMFiT (ACL 2018), whose d is 1/2.6; for
        transformers 0.8 to 0.95 is usual: Clark et al., ELECTRA (ICLR 2020).
    """
    if decay == 1.0:
        return {}
    names = [name for name, _ in encoder.named_parameters()]
    layers = {name: int(found[1]) for name in names if (found := LAYER.search(f".{name}"))}
    if not layers:
        raise ConfigError(
            f"layer_decay = {decay}: the parameters of this text encoder number no layers; "
            "expected 1, or another encoder"
        )
    count = 1 + max(layers.values())
    depths = {name: count - 1 - layer for name, layer in layers.items()}
    # WordRows stands in for the word table.
    depths |= {n: count for n in names if "embeddings." in n or n.startswith("words.")}
    return {name: decay**depth for name, depth in depths.items()}


def make_schedule(
    optimiser: torch.optim.Optimizer, *, steps: int, warmup: float, kind: Schedule = "linear"
) -> torch.optim.lr_scheduler.LambdaLR:
    """The rates of ``steps`` steps; see :func:`warm_up_then_decay`."""
    return torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: warm_up_then_decay(step, steps, warmup, kind)
    )


def warm_up_then_decay(step: int, steps: int, warmup: float, kind: Schedule = "linear") -> float:
    """The factor on the learning rates: linear up over a share of the steps, then to zero, in a
    line or by half a cosine.

    As transformers' ``get_linear_schedule_with_warmup`` and ``get_cosine_schedule_with_warmup``,
    but the first step counts: there its rate is 0.

    Source: cosine: Loshchilov and Hutter, SGDR (ICLR 2017), without restarts.
    """
    rising = max(1, round(steps * warmup))
    if step < rising:
        return (step + 1) / rising
    left = max(0.0, (steps - step) / max(1, steps - rising))
    return left if kind == "linear" else 0.5 - 0.5 * math.cos(math.pi * left)
