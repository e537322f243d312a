"""What the toolkit reads and how it scores: data sets, files, metrics, the order of clips."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from typing import Any

from torch.utils.data import RandomSampler, SequentialSampler

from mmsa_suparc.data.reader import reading_once
from mmsa_suparc.metrics import mosi_metrics, sims_metrics
from mmsa_suparc.toolkit import features, registry
from mmsa_suparc.toolkit.context import scored_as
from mmsa_suparc.toolkit.datasets import treated_as
from mmsa_suparc.toolkit.loaders import make_loader
from mmsa_suparc.toolkit.modules import module
from mmsa_suparc.toolkit.patching import Overlay, original, patch, replace


@patch(
    "data-sets",
    does="data sets of our own are read like the toolkit's; what a model's configuration says "
    "about the data is taken from the data; the encoder's width and tokens",
    answers="data_loader.py:16-21,33-55, trains/multiTask/SELF_MM.py:23",
)
def data_sets(undo: contextlib.ExitStack) -> None:
    loader = module("data_loader")
    read = original(original(loader, "MMDataset"), "__init__")

    def init(self: Any, args: Any, mode: str = "train") -> None:
        name = args["dataset_name"]
        args["dataset_name"] = treated_as(name)
        try:
            if registry.trainer_offers(args["model_name"], "takes_arrays"):
                features.fill(self, args, mode)
            else:
                with features.reading_for(args, mode):
                    read(self, args, mode=mode)
        finally:
            args["dataset_name"] = name
        features.take_from_data(args, self)

    replace(undo, loader.MMDataset, "__init__", init)


@patch(
    "metrics",
    does="predictions that are not finite are refused; degenerate cases are n/a; our data sets "
    "are scored like the toolkit's",
    answers="utils/metricsTop.py:97-105,174",
)
def metrics(undo: contextlib.ExitStack) -> None:
    ours = {
        "mosi": mosi_metrics,
        "mosei": mosi_metrics,
        "sims": sims_metrics,
        "simsv2": sims_metrics,
    }
    top = original(module("utils"), "MetricsTop")
    theirs = original(top, "getMetics")

    def get_metrics(self: Any, name: str) -> Callable[[Any, Any], dict[str, float]]:
        name = scored_as.get() or treated_as(name.lower())
        measure = ours.get(name)
        if measure is None:
            metrics: Callable[[Any, Any], dict[str, float]] = theirs(self, name)
            return metrics
        return lambda y_pred, y_true: measure(_array(y_pred), _array(y_true))

    replace(undo, top, "getMetics", get_metrics)


def _array(tensor: Any) -> Any:
    return tensor.detach().cpu().numpy()


@patch(
    "one-read",
    does="a feature file is read once, and cannot run code",
    answers="data_loader.py:27,31,49,58,63,220-222",
)
def one_read(undo: contextlib.ExitStack) -> None:
    loader = module("data_loader")

    def load(file: io.BufferedReader) -> Any:
        return features.prepared(file.name)

    replace(undo, loader, "pickle", Overlay(original(loader, "pickle"), load=load))
    run = module("run")
    make_loaders = original(run, "MMDataLoader")

    def read_once(args: Any, num_workers: int) -> Any:
        with reading_once():
            return make_loaders(args, num_workers)

    replace(undo, run, "MMDataLoader", read_once)


@patch(
    "batches",
    does="no batch of one clip beside others; validation and test clips keep their order; the "
    "random numbers drawn stay the same",
    answers="data_loader.py:228-233",
)
def batches(undo: contextlib.ExitStack) -> None:
    class InOrder(RandomSampler):
        """Draws what a shuffling sampler draws, so that training is not changed, and
        gives the clips in order."""

        def __iter__(self) -> Iterator[int]:
            for _ in super().__iter__():
                pass
            return iter(range(len(self.data_source)))

    def make(dataset: Any, *, batch_size: int, shuffle: bool, **options: Any) -> Any:
        sampler_of = SequentialSampler if not shuffle else RandomSampler
        if getattr(dataset, "mode", "train") != "train":
            sampler_of = InOrder
        return make_loader(dataset, sampler_of(dataset), batch_size=batch_size, **options)

    replace(undo, module("data_loader"), "DataLoader", make)
