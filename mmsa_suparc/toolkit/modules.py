"""The toolkit's modules, imported in one place, and the names that they define."""

from __future__ import annotations

import importlib
import json
import os
import sys
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from mmsa_suparc.errors import UserError


def module(name: str) -> ModuleType:
    """``module("run")`` is ``MMSA.run``; importing it leaves the environment as it was.

    (``MMSA.run`` sets two CUDA variables when it is imported; the one that makes cuBLAS
    repeatable has to be there before CUDA starts, so both are kept where they were unset and
    put back where the user had set them.)
    """
    if "MMSA" not in sys.modules:
        kept = {k: os.environ[k] for k in ("CUDA_DEVICE_ORDER", "CUBLAS_WORKSPACE_CONFIG")
                if k in os.environ}  # fmt: skip
        try:
            importlib.import_module("MMSA")
        except ImportError as error:
            raise UserError(
                f"the MMSA toolkit cannot be imported ({error}); install MMSA>=2.2.1"
            ) from error
        os.environ.update(kept)
    return importlib.import_module(f"MMSA.{name}" if name else "MMSA")


def trainer_modules() -> list[ModuleType]:
    """The modules of the toolkit's trainers (``MMSA.trains.singleTask.LF_DNN`` …)."""
    module("trains")
    return [
        loaded
        for name, loaded in sorted(sys.modules.items())
        if name.startswith("MMSA.trains.") and name.count(".") == 3
    ]


def config_folder() -> Path:
    """Where the toolkit keeps its JSON files."""
    return Path(str(module("").__file__)).parent / "config"


@lru_cache(maxsize=2)
def default_config(kind: str = "regression") -> dict[str, Any]:
    """``config_regression.json`` or ``config_tune.json`` of the installed toolkit."""
    content: dict[str, Any] = json.loads((config_folder() / f"config_{kind}.json").read_text())
    return content


def model_names() -> list[str]:
    """The models that the toolkit both trains and configures, by its own registries."""
    trainers = module("trains").ATIO().TRAIN_MAP
    return [name for name in default_config() if name in trainers]


def dataset_names() -> list[str]:
    """The data sets that the toolkit configures."""
    return [
        name
        for name, entry in default_config()["datasetCommonParams"].items()
        if isinstance(entry, dict)
    ]


def datasets_of(model: str) -> list[str]:
    """The data sets for which the toolkit configures one of its models."""
    return list(default_config()[model]["datasetParams"])
