"""The toolkit's modules, imported in one place; what its files say without: ``installed``."""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType

from mmsa_suparc.errors import UserError
from mmsa_suparc.toolkit.old_transformers import standing_in


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
            with standing_in():
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
