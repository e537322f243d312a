"""What each of several processes does in ``test_processes.py``; the main one writes the result."""

from __future__ import annotations

import sys
from dataclasses import replace

import torch

from mmsa_suparc.training import evaluation, loop, processes
from mmsa_suparc.training.runtime import Runtime
from mmsa_suparc.training.step import TrainingStep
from tests.helpers.small import FAST, configured, make_clips, make_model


def main(path: str) -> None:
    device = torch.device("cpu")
    runtime = Runtime.choose(device, "fp32")
    clips, valid = make_clips("train"), make_clips("valid").take(torch.arange(53))
    accelerator = runtime.accelerator()
    found = {}
    # 12 clips share out evenly, 7 do not, and of one there is nothing left for the others.
    for size in (12, 7, 1):
        model = make_model(dropout=0.0).train()
        step = accelerator.prepare(TrainingStep(model, loop.make_objective(FAST)))
        places = torch.arange(size)
        total, terms = step(clips.take(processes.part_of(places)), size)
        accelerator.backward(total * processes.count())
        found[f"{size}.loss"] = total.detach()
        found |= {f"{size}.loss_{name}": value.detach() for name, value in terms.items()}
        found |= {
            f"{size}.{name}": p.grad for name, p in model.named_parameters() if p.grad is not None
        }
    features: dict[str, torch.Tensor] = {}
    found["prediction"] = evaluation.predict(
        model, valid, runtime, batch_size=10, features=features
    )
    found["fusion"] = features["Feature_f"]
    found["encoded"] = evaluation.encode_text(model, valid, runtime, batch_size=10).encoded_text
    config = FAST.model_copy(update={"epochs": 2, "accumulation": 2, "batch_size": 15})
    fitted = loop.fit(
        make_model(dropout=0.0),
        replace(clips.take(torch.arange(101)), names=()),
        valid,
        config,
        runtime=runtime,
        metrics=lambda prediction, scores: {"clips": float(len(prediction))},
        seed=1,
    )
    options = {
        "dropout": 0.0, "standardise": True, "sequence_pooling": "attention",
        "fusion_norm": "projection", "presence_flags": True, "ema": 0.9, "layer_decay": 0.5,
        "schedule": "cosine", "sampling": "rounded",
    }  # fmt: skip
    config = config.model_copy(update=options)
    model = configured(config, dropout=0.0)
    with_options = loop.fit(
        model,
        replace(clips.take(torch.arange(101)), names=()),
        valid,
        config,
        runtime=runtime,
        metrics=lambda prediction, scores: {},
        seed=1,
    )
    found |= {f"options.{name}": tensor for name, tensor in with_options.best_weights.items()}
    found["options"] = torch.tensor([row["valid_Loss"] for row in with_options.history])
    found |= {f"fitted.{name}": tensor for name, tensor in fitted.best_weights.items()}
    found["fitted"] = torch.tensor([row["valid_Loss"] for row in fitted.history])
    found["any"] = torch.tensor(processes.any_of(processes.number() == processes.count() - 1))
    found["main"] = torch.tensor(processes.from_main(processes.number()))
    if processes.is_main():
        torch.save(found, path)


if __name__ == "__main__":
    main(sys.argv[1])
