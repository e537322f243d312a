"""Comparing models by a file: what to run, running it, and what it says.

The package itself may be called: ``mmsa_suparc.bench("quick", out="bench")`` runs a benchmark, see
:func:`mmsa_suparc.api.comparing.compare`.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """A package of modules that is a function as well.

    What is called lies above this room, and is looked for when it is asked for, as the names of
    the top level are.
    """

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self._function(*args, **options)

    @property
    def _function(self) -> Any:
        return importlib.import_module("mmsa_suparc.api.comparing").compare

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._function)


sys.modules[__name__].__class__ = _Callable
