"""SupArc for the MMSA toolkit: a plugin, a command and a study.

The map, in the order in which a reader of the paper would ask:

==============  =============================================================
``losses``      supervised angular-margin contrastive loss, modality triplet
                loss, their sum with the MAE (pure torch)
``model``       text, audio and vision encoders, masking, fusion, prediction
``training``    the loop, a step of it, the device, the state on disk
``data``        feature files: safe reading, checks, cache, batches
``toolkit``     the only place that imports MMSA: the seam, and every patch
``runs``        from a request to a run folder
``announced``   the models that are known before torch and MMSA are loaded
``plugin``      registration: wires the toolkit, the patches and SupArc
``videos``      clips to features, through MMSA-FET in a process of its own
``bench``       models compared by a file: cells, statistics, tables
``analysis``    the report, one section a file
``serving``     a trained SupArc, asked: predictor, export, page
``api``         runs and benchmarks as what a Python user calls and holds
``cli``         the command ``mmsa``, one file a verb
==============  =============================================================

Importing this package imports neither torch nor MMSA and changes nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mmsa_suparc import errors
from mmsa_suparc.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pydantic import BaseModel

    from mmsa_suparc.api.bench_result import BenchResult, load_bench
    from mmsa_suparc.api.comparing import compare as bench
    from mmsa_suparc.api.run_result import RunResult, load_run
    from mmsa_suparc.api.running import run
    from mmsa_suparc.config import SupArcConfig
    from mmsa_suparc.losses import ModalityTripletLoss, SupArcLoss
    from mmsa_suparc.model import SupArc
    from mmsa_suparc.runs.trainer import SupArcTrainer
    from mmsa_suparc.serving.predictor import SupArcPredictor
    from mmsa_suparc.toolkit.registry import Model, Trainer

__all__ = [
    "BenchResult",
    "ModalityTripletLoss",
    "RunResult",
    "SupArc",
    "SupArcConfig",
    "SupArcLoss",
    "SupArcPredictor",
    "SupArcTrainer",
    "__version__",
    "bench",
    "errors",
    "load_bench",
    "load_run",
    "register",
    "register_model",
    "run",
    "unregister",
    "unregister_model",
]

#: Names that are imported, with all that they need, when they are first asked for.
_LAZY = {
    "BenchResult": "mmsa_suparc.api.bench_result",
    "RunResult": "mmsa_suparc.api.run_result",
    "load_bench": "mmsa_suparc.api.bench_result",
    "load_run": "mmsa_suparc.api.run_result",
    "run": "mmsa_suparc.api.running",
    "ModalityTripletLoss": "mmsa_suparc.losses",
    "SupArc": "mmsa_suparc.model",
    "SupArcConfig": "mmsa_suparc.config",
    "SupArcLoss": "mmsa_suparc.losses",
    "SupArcPredictor": "mmsa_suparc.serving.predictor",
    "SupArcTrainer": "mmsa_suparc.runs.trainer",
}


def __getattr__(name: str) -> Any:
    if name == "bench":  # the room, which may be called: see there
        return importlib.import_module("mmsa_suparc.bench")
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def register() -> None:
    """Put SupArc, the embedded data set and every repair into the toolkit.

    Afterwards ``MMSA.MMSA_run("suparc", "mosi", ...)`` works as it stands, and so
    do the models that installed packages announce through the entry point group
    ``mmsa.models``. Calling it again does nothing; :func:`unregister` undoes it.
    """
    from mmsa_suparc import plugin

    plugin.register()


def unregister() -> None:
    """Leave the toolkit's modules and classes exactly as they were before :func:`register`."""
    from mmsa_suparc import plugin

    plugin.unregister()


def register_model(
    name: str,
    model: Callable[[Any], Model] | str,
    trainer: Callable[[Any], Trainer] | str,
    config: Mapping[str, Any] | str | Path | None = None,
    *,
    schema: type[BaseModel] | None = None,
    overwrite: bool = False,
) -> None:
    """Make ``name`` a model of the toolkit, in this process, as SupArc itself does.

    Args:
        name: what ``-m`` and ``MMSA_run`` will be given; lower case.
        model: called with the toolkit's ``args``, returns a ``torch.nn.Module`` whose
            ``forward(text, audio, vision)`` gives a dict with the score under ``"M"``; see
            :class:`mmsa_suparc.toolkit.registry.Model`. Or where it stands,
            ``"package.module:name"``: it is imported when the first is built, so a package that
            announces it this way costs the command nothing before.
        trainer: likewise; called with ``args``, returns an object with the toolkit's
            ``do_train(model, dataloader, return_epoch_results)`` and
            ``do_test(model, dataloader, mode)``. It saves its best weights to
            ``args.model_save_path``. What else it may offer:
            :class:`mmsa_suparc.toolkit.registry.AbleTrainer`.
        config: default values: a mapping or the path of a YAML or JSON file, either
            flat or with the sections ``shared`` and ``datasets``. Keys that the
            toolkit's loader asks for (``need_data_aligned`` …) have defaults.
        schema: a pydantic model of the configuration, with ranges; derived from the types of
            the default values if there is none.
        overwrite: whether to replace another model of that name. The same one again, as a
            notebook's cell that runs twice gives it, is always taken.

    Raises:
        mmsa_suparc.errors.UserError: the name is the toolkit's or another model's, or the file
            is unreadable.
    """
    from mmsa_suparc import announced

    announced.add(name, model, trainer, config, schema=schema, overwrite=overwrite)
    if not announced.is_announcing():  # who asks for models may not need the toolkit yet
        from mmsa_suparc import plugin

        plugin.put_in_force()


def unregister_model(name: str) -> None:
    """Take back :func:`register_model`; the toolkit's own models stay.

    Raises:
        mmsa_suparc.errors.UserError: no model of that name was registered.
    """
    from mmsa_suparc.toolkit import registry

    registry.remove(name)
