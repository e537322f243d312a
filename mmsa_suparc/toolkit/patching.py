"""Every patch on the toolkit, applied together and undone together.

MMSA 2.2.1 has no plugin hook. Each repair below says what it does and which lines of the
toolkit it answers; ``docs/toolkit-repairs.md`` lists them with the defects. A repair checks
that the symbol it replaces is there, and says what it expected if not. None edits a file of
the toolkit, and none touches a module outside ``MMSA``: where the toolkit misuses another
library, it is given an overlay of that library instead.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from mmsa_suparc.errors import SupArcError
from mmsa_suparc.progress import progress
from mmsa_suparc.toolkit import modules


class SeamError(SupArcError):
    """The installed toolkit lacks a symbol that a repair replaces."""


_MISSING = object()
_applied: contextlib.ExitStack | None = None
#: The text encoder of the run in progress, for models that hard-code another.
current_encoder: ContextVar[str | None] = ContextVar("current_encoder", default=None)
#: Whose metrics data of one's own are scored by, while a trainer is made.
scored_as: ContextVar[str | None] = ContextVar("scored_as", default=None)


@dataclass(frozen=True)
class Repair:
    """One patch: its name, what it does, the toolkit's lines, and how to apply it."""

    name: str
    does: str
    answers: str
    apply: Callable[[contextlib.ExitStack], None]


REPAIRS: list[Repair] = []


def repair(name: str, *, does: str, answers: str) -> Callable[..., Any]:
    """Add a function to :data:`REPAIRS`."""

    def add(function: Callable[[contextlib.ExitStack], None]) -> Callable[..., None]:
        REPAIRS.append(Repair(name, does, answers, function))
        return function

    return add


def is_applied() -> bool:
    """Whether the repairs are in force."""
    return _applied is not None


def apply() -> None:
    """Put every repair in force; does nothing where they are."""
    global _applied
    if _applied is not None:
        return
    with contextlib.ExitStack() as undo:
        for each in REPAIRS:
            each.apply(undo)
        _applied = undo.pop_all()


def undo() -> None:
    """Take every repair back, in reverse order; does nothing where there are none."""
    global _applied
    if _applied is not None:
        applied, _applied = _applied, None
        applied.close()


def original(owner: Any, name: str) -> Any:
    """What the toolkit has under ``owner.name``.

    Raises:
        SeamError: nothing.
    """
    if name not in vars(owner):
        raise SeamError(
            f"the installed MMSA has no {owner.__name__}.{name}; this version of mmsa-suparc "
            "expects it. Install MMSA 2.2.1 or a newer mmsa-suparc"
        )
    return vars(owner)[name]


def replace(
    undo: contextlib.ExitStack, owner: Any, name: str, value: Any, *, new: bool = False
) -> None:
    """Set ``owner.name`` until undone.

    Raises:
        SeamError: the toolkit has no such name (unless ``new``).
    """
    before = vars(owner).get(name, _MISSING) if new else original(owner, name)
    setattr(owner, name, value)

    def restore() -> None:
        if before is _MISSING:
            delattr(owner, name)
        else:
            setattr(owner, name, before)

    undo.callback(restore)


class Overlay(ModuleType):
    """A module seen through a few replaced names; the module itself stays as it is."""

    def __init__(self, module: ModuleType, **replaced: Any) -> None:
        super().__init__(module.__name__)
        self.__dict__["_module"] = module
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_module"], name)


class MapHook:
    """Catches ``self.MODEL_MAP = {...}`` in a constructor and adds our entries.

    A data descriptor on the class wins over the instance attribute, so the constructor's own
    next line already reads the merged dictionary.
    """

    def __init__(self, attribute: str, entries: Callable[[], dict[str, Any]]) -> None:
        self.slot = f"_suparc_{attribute}"
        self.entries = entries

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else vars(instance)[self.slot]

    def __set__(self, instance: Any, value: dict[str, Any]) -> None:
        vars(instance)[self.slot] = {**value, **self.entries()}


# --- Models and data sets -------------------------------------------------------------------


@repair(
    "registries",
    does="registered models appear in AMIO's and ATIO's maps",
    answers="models/AMIO.py:15, trains/ATIO.py:12",
)
def _registries(undo: contextlib.ExitStack) -> None:
    from mmsa_suparc.toolkit import registry

    def of(part: str) -> Callable[[], dict[str, Any]]:
        return lambda: {name: getattr(entry, part) for name, entry in registry.registered().items()}

    amio, atio = modules.module("models").AMIO, modules.module("trains").ATIO
    replace(undo, amio, "MODEL_MAP", MapHook("MODEL_MAP", of("model")), new=True)
    replace(undo, atio, "TRAIN_MAP", MapHook("TRAIN_MAP", of("trainer")), new=True)


@repair(
    "configuration",
    does="registered models and data sets have defaults; a file is merged over them; "
    "the data root is an option",
    answers="config.py:8-48, config/*.json",
)
def _configuration(undo: contextlib.ExitStack) -> None:
    from mmsa_suparc.toolkit import settings

    for owner in (modules.module("run"), modules.module(""), modules.module("config")):
        for name, ours in (
            ("get_config_regression", settings.toolkit_args),
            ("get_config_tune", settings.toolkit_tune_args),
        ):
            replace(undo, owner, name, ours)


@repair(
    "data-sets",
    does="data sets of our own are read like the toolkit's; what a model's configuration says "
    "about the data is taken from the data; the encoder's width and tokens",
    answers="data_loader.py:16-21,33-55, trains/multiTask/SELF_MM.py:23",
)
def _data_sets(undo: contextlib.ExitStack) -> None:
    from mmsa_suparc.toolkit import features, registry, settings

    loader = modules.module("data_loader")
    read = original(original(loader, "MMDataset"), "__init__")

    def init(self: Any, args: Any, mode: str = "train") -> None:
        name = args["dataset_name"]
        args["dataset_name"] = settings.treated_as(name)
        try:
            if registry.trainer_offers(args["model_name"], "takes_arrays"):
                features.fill(self, args, mode)
            else:
                with features.reading_for(args):
                    read(self, args, mode=mode)
        finally:
            args["dataset_name"] = name
        features.take_from_data(args, self)

    replace(undo, loader.MMDataset, "__init__", init)


@repair(
    "metrics",
    does="predictions that are not finite are refused; degenerate cases are n/a; our data sets "
    "are scored like the toolkit's",
    answers="utils/metricsTop.py:97-105,174",
)
def _metrics(undo: contextlib.ExitStack) -> None:
    from mmsa_suparc.metrics import mosi_metrics, sims_metrics
    from mmsa_suparc.toolkit import settings

    ours = {
        "mosi": mosi_metrics,
        "mosei": mosi_metrics,
        "sims": sims_metrics,
        "simsv2": sims_metrics,
    }
    top = original(modules.module("utils"), "MetricsTop")
    theirs = original(top, "getMetics")

    def get_metrics(self: Any, name: str) -> Callable[[Any, Any], dict[str, float]]:
        name = scored_as.get() or settings.treated_as(name.lower())
        measure = ours.get(name)
        if measure is None:
            metrics: Callable[[Any, Any], dict[str, float]] = theirs(self, name)
            return metrics
        return lambda y_pred, y_true: measure(_array(y_pred), _array(y_true))

    replace(undo, top, "getMetics", get_metrics)


def _array(tensor: Any) -> Any:
    return tensor.detach().cpu().numpy()


@repair(
    "one-read",
    does="a feature file is read once, and cannot run code",
    answers="data_loader.py:27,31,49,58,63,220-222",
)
def _one_read(undo: contextlib.ExitStack) -> None:
    from mmsa_suparc.data.reader import reading_once
    from mmsa_suparc.toolkit import features

    loader = modules.module("data_loader")

    def load(file: io.BufferedReader) -> Any:
        return features.prepared(file.name)

    replace(undo, loader, "pickle", Overlay(original(loader, "pickle"), load=load))
    run = modules.module("run")
    make_loaders = original(run, "MMDataLoader")

    def read_once(args: Any, num_workers: int) -> Any:
        with reading_once():
            return make_loaders(args, num_workers)

    replace(undo, run, "MMDataLoader", read_once)


@repair(
    "ordered-evaluation",
    does="validation and test clips keep their order; the random numbers drawn stay the same",
    answers="data_loader.py:232",
)
def _ordered_evaluation(undo: contextlib.ExitStack) -> None:
    from torch.utils.data import DataLoader, RandomSampler

    class InOrder(RandomSampler):
        """Draws what a shuffling sampler draws, so that training is not changed, and
        gives the clips in order."""

        def __iter__(self) -> Iterator[int]:
            for _ in super().__iter__():
                pass
            return iter(range(len(self.data_source)))

    def make(dataset: Any, *, shuffle: bool = False, **options: Any) -> Any:
        if getattr(dataset, "mode", "train") == "train":
            return DataLoader(dataset, shuffle=shuffle, **options)
        return DataLoader(dataset, sampler=InOrder(dataset), **options)

    replace(undo, modules.module("data_loader"), "DataLoader", make)


# --- Devices and today's libraries ----------------------------------------------------------


@repair(
    "no-gpu",
    does="runs without a GPU, and with one when the CPU is asked for",
    answers="run.py:146,208, utils/functions.py:24",
)
def _no_gpu(undo: contextlib.ExitStack) -> None:
    import torch

    def set_device(device: Any) -> None:
        if torch.device(device).type == "cuda":
            torch.cuda.set_device(device)

    run = modules.module("run")
    replace(undo, run, "torch", Overlay(torch, cuda=Overlay(torch.cuda, set_device=set_device)))
    assign = original(run, "assign_gpu")

    def assign_gpu(gpu_ids: Any, *args: Any, **options: Any) -> torch.device:
        if any(int(gpu) < 0 for gpu in gpu_ids) or not torch.cuda.is_available():
            return torch.device("cpu")
        device: torch.device = assign(list(gpu_ids), *args, **options)
        return device

    replace(undo, run, "assign_gpu", assign_gpu)


@repair(
    "scheduler-keyword",
    does="ReduceLROnPlateau is called without the keyword that torch removed",
    answers="trains/singleTask/MULT.py:22, MMIM.py:166, trains/missingTask/TFR_NET.py:38",
)
def _scheduler_keyword(undo: contextlib.ExitStack) -> None:
    from torch.optim.lr_scheduler import ReduceLROnPlateau

    def without_verbose(*args: Any, verbose: Any = None, **options: Any) -> Any:
        return ReduceLROnPlateau(*args, **options)

    for module in modules.trainer_modules():
        if "ReduceLROnPlateau" in vars(module):
            replace(undo, module, "ReduceLROnPlateau", without_verbose)


@repair(
    "text-encoder",
    does="every model uses the configured encoder, of any architecture and width",
    answers="models/subNets/BertTextEncoder.py:13-20, models/missingTask/TFR_NET/model.py:79, "
    "models/singleTask/BERT_MAG.py:326",
)
def _text_encoder(undo: contextlib.ExitStack) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    text_encoder = original(modules.module("models.subNets"), "BertTextEncoder")

    def init(
        self: Any,
        use_finetune: bool = False,
        transformers: str = "bert",
        pretrained: str = "bert-base-uncased",
    ) -> None:
        torch.nn.Module.__init__(self)
        name = current_encoder.get() or pretrained
        self.tokenizer = AutoTokenizer.from_pretrained(name)
        self.model = AutoModel.from_pretrained(name)
        self.use_finetune = use_finetune

    replace(undo, text_encoder, "__init__", init)

    # BERT_MAG is a BERT itself and loads its weights by a name of its own.
    bert_mag = sys.modules.get("MMSA.models.singleTask.BERT_MAG")
    if bert_mag is not None:
        mag = bert_mag.MAG_BertForSequenceClassification
        inherited = mag.from_pretrained.__func__

        def from_pretrained(cls: Any, name: str, *args: Any, **options: Any) -> Any:
            return inherited(cls, current_encoder.get() or name, *args, **options)

        replace(undo, mag, "from_pretrained", classmethod(from_pretrained), new=True)


@repair(
    "misa-width",
    does="MISA's text projection has the encoder's width, not always 768",
    answers="models/singleTask/MISA.py:71",
)
def _misa_width(undo: contextlib.ExitStack) -> None:
    import torch

    modules.module("models")
    misa = original(sys.modules["MMSA.models.singleTask.MISA"], "MISA")
    build = original(misa, "__init__")

    def init(self: Any, config: Any) -> None:
        build(self, config)
        width = config.feature_dims[0]
        if config.use_bert and width != self.project_t[0].in_features:
            self.project_t[0] = torch.nn.Linear(width, config.hidden_size)

    replace(undo, misa, "__init__", init)


# --- Runs and results -----------------------------------------------------------------------


@repair(
    "one-seed",
    does="a seed has a checkpoint of its own, never another run's weights; one that never "
    "improves or gives NaN ends with an error",
    answers="run.py:135,193,242-290",
)
def _one_seed(undo: contextlib.ExitStack) -> None:
    from mmsa_suparc.runs import seeds

    replace(undo, modules.module("run"), "_run", seeds.toolkit_run)


@repair(
    "whole-checkpoints",
    does="a checkpoint is written beside the old one and renamed",
    answers="torch.save in every trainer, e.g. trains/singleTask/LF_DNN.py:83",
)
def _whole_checkpoints(undo: contextlib.ExitStack) -> None:
    import torch

    from mmsa_suparc.training.checkpoint import save_torch

    def save(content: Any, path: Any, **options: Any) -> None:
        save_torch(Path(path), content, **options)

    for module in modules.trainer_modules():
        if vars(module).get("torch") is torch:
            replace(undo, module, "torch", Overlay(torch, save=save))


@repair(
    "results-table",
    does="cells of the results table are plain numbers, rows are appended under a lock, "
    "and a model with other metrics adds columns",
    answers="run.py:223-239",
)
def _results_table(undo: contextlib.ExitStack) -> None:
    import numpy
    import pandas

    from mmsa_suparc.data.tables import append_rows
    from mmsa_suparc.runs import seeds

    class Appending(pandas.DataFrame):
        """Writing it appends the rows that were not read from the file."""

        def to_csv(self, path: Any, *args: Any, **options: Any) -> None:  # type: ignore[override]
            append_rows(Path(path), pandas.DataFrame(self).iloc[self.attrs.get("read", 0) :])

    def read_csv(path: Any) -> Appending:
        rows = pandas.read_csv(path)
        if Path(path).parent.name == "normal":  # shared by all models, whatever they measure
            rows = rows.reindex(columns=["Model", *seeds.last_metrics])
        table = Appending(rows)
        table.attrs["read"] = len(rows)
        return table

    run = modules.module("run")
    replace(undo, run, "pd", Overlay(pandas, DataFrame=Appending, read_csv=read_csv))
    plain = {name: _plain(getattr(numpy, name)) for name in ("mean", "std")}
    replace(undo, run, "np", Overlay(numpy, **plain))


def _plain(function: Callable[..., Any]) -> Callable[..., float]:
    return lambda values: float(function(values))


@repair(
    "log-handlers",
    does="a run replaces the log handlers of the one before",
    answers="run.py:35-57",
)
def _log_handlers(undo: contextlib.ExitStack) -> None:
    run = modules.module("run")
    original_set_logger = original(run, "_set_logger")
    logger = logging.getLogger("MMSA")

    def set_logger(*args: Any, **options: Any) -> logging.Logger:
        drop()
        before = list(logger.handlers)
        result: logging.Logger = original_set_logger(*args, **options)
        ours.extend(handler for handler in logger.handlers if handler not in before)
        return result

    ours: list[logging.Handler] = []

    def drop() -> None:
        while ours:
            handler = ours.pop()
            logger.removeHandler(handler)
            handler.close()

    replace(undo, run, "_set_logger", set_logger)
    undo.callback(drop)


@repair(
    "progress-bars",
    does="the trainers' progress bars are silent where stdout is no terminal",
    answers="tqdm in every trainer",
)
def _progress_bars(undo: contextlib.ExitStack) -> None:
    for module in modules.trainer_modules():
        if "tqdm" in vars(module):
            replace(undo, module, "tqdm", progress)
