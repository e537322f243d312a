"""SupArc for the MMSA toolkit: a plugin, a command and a study.

The map, in the order in which a reader of the paper would ask:

==============  =============================================================
``losses``      supervised angular-margin contrastive loss, modality triplet
                loss, their sum with the MAE (pure torch)
``model``       text, audio and vision encoders, masking, fusion, prediction
``data``        feature files, text features, batches, the embedded data set
``training``    the loop, the device, the checkpoint
``host``        the only place that imports the toolkit: the seam
``analysis``    pictures made from a run folder
``cli``         the command ``mmsa``, one file a verb
==============  =============================================================

Importing this package imports neither torch nor MMSA and changes nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mmsa_suparc.losses import ModalityTripletLoss, SupArcLoss
    from mmsa_suparc.model import SupArc
    from mmsa_suparc.runs.trainer import SupArcTrainer

__version__ = "0.1.0"
__all__ = [
    "ModalityTripletLoss",
    "SupArc",
    "SupArcLoss",
    "SupArcTrainer",
    "__version__",
    "register",
    "register_model",
    "unregister",
]

#: Classes that are imported, with all that they need, when they are first asked for.
_LAZY = {
    "ModalityTripletLoss": "mmsa_suparc.losses",
    "SupArc": "mmsa_suparc.model",
    "SupArcLoss": "mmsa_suparc.losses",
    "SupArcTrainer": "mmsa_suparc.runs.trainer",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def register() -> None:
    """Put SupArc, the embedded data set and every repair into the toolkit.

    Afterwards ``MMSA.MMSA_run("suparc", "mosi", ...)`` works as it stands, and so
    do the models that installed packages announce through the entry point group
    ``mmsa.models``. Calling it again does nothing; :func:`unregister` undoes it.
    """
    from mmsa_suparc.toolkit import registry

    registry.register()


def unregister() -> None:
    """Leave the toolkit's modules and classes exactly as they were before :func:`register`."""
    from mmsa_suparc.toolkit import registry

    registry.unregister()


def register_model(
    name: str,
    model: Callable[..., Any],
    trainer: Callable[..., Any],
    config: Mapping[str, Any] | str | Path | None = None,
) -> None:
    """Make ``name`` a model of the toolkit, in this process, as SupArc itself does.

    Args:
        name: what ``-m`` and ``MMSA_run`` will be given; lower case.
        model: called with the toolkit's ``args``, returns a ``torch.nn.Module`` whose
            ``forward(text, audio, vision)`` gives a dict with the score under ``"M"``.
        trainer: called with ``args``, returns an object with the toolkit's
            ``do_train(model, dataloader, return_epoch_results)`` and
            ``do_test(model, dataloader, mode)``. It saves its best weights to
            ``args.model_save_path``.
        config: default values: a mapping or the path of a YAML or JSON file, either
            flat or with the sections ``shared`` and ``datasets``. Keys that the
            toolkit's loader asks for (``need_data_aligned`` …) have defaults.

    Raises:
        mmsa_suparc.errors.UserError: the name is already taken, or the file is unreadable.
    """
    from mmsa_suparc.toolkit import registry

    registry.register_model(name, model, trainer, config)
