"""Training and testing one seed of any model, through the toolkit's own registries."""

from __future__ import annotations

import contextlib
import copy
import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from mmsa_suparc.data.safe_pickle import load_weights
from mmsa_suparc.data.tables import plain_cell
from mmsa_suparc.data.text import find_encoder
from mmsa_suparc.errors import ConfigError, DivergedError, UserError, nearest
from mmsa_suparc.runs.recorder import Recorder
from mmsa_suparc.toolkit import context, registry, settings
from mmsa_suparc.toolkit.calls import build
from mmsa_suparc.toolkit.loaders import batch_size_of, has_only_lone_clips
from mmsa_suparc.training import processes
from mmsa_suparc.training.memory import forget_peak

Row = dict[str, Any]


@dataclass
class SeedResult:
    """What one seed gave."""

    seed: int
    metrics: dict[str, dict[str, float]]  # split -> metric -> raw value
    predictions: pd.DataFrame  # split, id, label, prediction
    history: list[Row]
    weights: dict[str, torch.Tensor] = field(repr=False)
    #: How many numbers it trained.
    parameters: int
    #: What the losses do, where the trainer tells.
    diagnostics: dict[str, Any] | None = None


def train_seed(
    args: Any,
    *,
    seed: int,
    num_workers: int = 0,
    on_epoch: Callable[[Row], None] = lambda row: None,
    prepare: Callable[[Any], None] = lambda trainer: None,
) -> SeedResult:
    """Build, train, load the best weights, and measure validation and test.

    Args:
        args: the toolkit's, complete; ``model_save_path`` is where the trainer keeps its best
            weights while training (one that does not leave them in the model), and must not
            exist.
        seed: sets every generator before the model is made.
        on_epoch: given a row after each epoch.
        prepare: is given the trainer before it trains.

    Raises:
        DivergedError: no epoch improved on validation, or a prediction is not finite.
        UserError: the model cannot train on batches of one clip, and there are no others.
    """
    forget_peak(torch.device(args["device"]))
    loaders, model, trainer = build(args, seed=seed, num_workers=num_workers)
    parameters = trainable_parameters(model)
    prepare(trainer)
    recorder = Recorder(trainer, epochs=args.get("epochs"), on_epoch=on_epoch)
    with recorder.training(), _naming_lone_clips(args["model_name"], loaders["train"]):
        trainer.do_train(model, loaders)
    weights = model.state_dict()
    if processes.is_main() and not getattr(trainer, "leaves_best_weights", False):
        checkpoint = Path(args["model_save_path"])
        if not checkpoint.is_file():
            raise DivergedError(
                f"no epoch of {len(recorder.history)} improved on validation {args['KeyEval']}: "
                "there are no weights to test"
            )
        weights = load_weights(checkpoint)
        model.load_state_dict(weights)
        model.to(args["device"])
    measured, predictions = {}, []
    for split in ("valid", "test"):
        results, prediction = recorder.test(model, loaders[split], split)
        measured[split] = {
            name: float(value)
            for name, value in results.items()
            if isinstance(value, (int, float, np.number))
        }
        data = loaders[split].dataset
        predictions.append(
            pd.DataFrame(
                {
                    "split": split,
                    "id": [plain_cell(str(name)) for name in data.ids],
                    "label": np.asarray(data.labels["M"], dtype=np.float64).reshape(-1).round(6),
                    "prediction": prediction.numpy(),
                }
            )
        )
    context.last_metrics.set(tuple(measured["test"]))
    diagnostics = None
    if hasattr(trainer, "diagnose"):
        diagnostics = trainer.diagnose(model, loaders["valid"])
    del model, trainer, loaders
    gc.collect()
    table = pd.concat(predictions)
    return SeedResult(seed, measured, table, recorder.history, weights, parameters, diagnostics)


def trainable_parameters(model: nn.Module) -> int:
    """How many numbers of a model a gradient may reach, each once.

    Not those of a module that says ``use_finetune = False``: the toolkit's text encoder computes
    without a gradient then, and leaves ``requires_grad`` as it was.
    """
    frozen = {
        id(parameter)
        for module in model.modules()
        if getattr(module, "use_finetune", True) is False
        for parameter in module.parameters()
    }
    return sum(
        one.numel() for one in model.parameters() if one.requires_grad and id(one) not in frozen
    )


@contextlib.contextmanager
def _naming_lone_clips(model: str, loader: Any) -> Iterator[None]:
    """Say so where a model of the toolkit fails on batches of one clip, as those with batch
    normalisation do; there are none but where there is one clip, or ``batch_size`` is 1.
    """
    try:
        yield
    except torch.cuda.OutOfMemoryError:
        raise
    except (ValueError, RuntimeError, IndexError) as error:
        if registry.trainer_offers(model, "takes_arrays") or not has_only_lone_clips(loader):
            raise
        raise UserError(
            f"-m {model}: cannot train on batches of one clip: {error}; found "
            f"{len(loader.dataset)} training clips and batch_size = {batch_size_of(loader)}, "
            "expected at least 2 of each"
        ) from error


def toolkit_run(args: Any, num_workers: int, is_tune: bool) -> dict[str, float]:
    """Stands in for the toolkit's ``_run``: one seed of ``MMSA_run``.

    The seed is the one that ``MMSA_run`` has just set. Weights go to a file of that seed,
    written anew. Tuning is scored on the validation split: the test split selects nothing.
    """
    seed = torch.initial_seed()
    args = copy.deepcopy(args)
    if args.get("cur_seed") == 1:
        _refuse_unknown_keys(args)
    settings.find_inputs(Path(args.get("custom_feature") or args["featurePath"]))
    if args.get("use_bert"):
        args["pretrained"] = find_encoder(args["pretrained"])
    path = Path(args["model_save_path"])
    args["model_save_path"] = path.with_name(f"{path.stem}-{seed}{path.suffix}")
    args["model_save_path"].unlink(missing_ok=True)
    result = train_seed(args, seed=seed, num_workers=num_workers)
    if is_tune:
        args["model_save_path"].unlink()
    return result.metrics["valid" if is_tune else "test"]


def _refuse_unknown_keys(args: Any) -> None:
    """``MMSA_run(config={...})`` takes any key; one that no model knows is a typing error."""
    known = set(settings.load(args["model_name"], args["dataset_name"]).values) | RUN_KEYS
    for key in args:
        if key not in known and key not in args.get("d_paras", ()):
            raise ConfigError(f"config: unknown key '{key}'{nearest(key, known)}")


#: What the runner itself adds to ``args``.
RUN_KEYS = {
    "model_name", "dataset_name", "model_save_path", "device", "train_mode", "custom_feature",
    "feature_T", "feature_A", "feature_V", "cur_seed", "train_samples", "d_paras",
}  # fmt: skip
