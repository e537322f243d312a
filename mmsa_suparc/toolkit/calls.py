"""What runs ask of the toolkit: loaders, models, trainers, metrics, its own search, its log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from mmsa_suparc.toolkit import context, features
from mmsa_suparc.toolkit.datasets import treated_as
from mmsa_suparc.toolkit.modules import module

#: To which its trainers speak.
logger = logging.getLogger("MMSA")


def build(args: Any, *, seed: int, num_workers: int = 0) -> tuple[dict[str, Any], Any, Any]:
    """The toolkit's loaders by split, model on its device, and trainer, from a seed."""
    module("utils").setup_seed(seed)
    encoder = context.current_encoder.set(args["pretrained"])
    metrics = context.scored_as.set(args.get("metrics"))
    try:
        loaders = module("run").MMDataLoader(args, num_workers)
        model = module("models").AMIO(args).to(args["device"])
        trainer = _trainer(args)
    finally:
        context.current_encoder.reset(encoder)
        context.scored_as.reset(metrics)
    return loaders, model, trainer


def dataset(args: Any, fields: Mapping[str, Any]) -> Any:
    """The toolkit's data set of clips that are given as a feature file's split has them.

    Args:
        args: as :func:`build` left them.
        fields: of the split; its text fits the encoder.
    """
    with features.given({"test": dict(fields)}):
        return module("data_loader").MMDataset(args, mode="test")


def _trainer(args: Any) -> Any:
    """The trainer; some ask for a data set by its name, which ours are treated as."""
    name = args["dataset_name"]
    args["dataset_name"] = treated_as(name)
    try:
        return module("trains").ATIO().getTrain(args)
    finally:
        args["dataset_name"] = name


def metrics_of(dataset: str) -> Callable[[Any, Any], dict[str, float]]:
    """(predictions (N,), scores (N,)) -> the metrics of a data set, by name."""
    measure: Callable[[Any, Any], dict[str, float]] = (
        module("utils").MetricsTop("regression").getMetics(dataset)
    )
    return measure


def search(model: str, dataset: str, **options: Any) -> None:
    """``MMSA_run(is_tune=True)``: random sets of the declared values."""
    module("run").MMSA_run(model, dataset, is_tune=True, **options)
