"""Registered models are models of the toolkit."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Literal

from mmsa_suparc.toolkit import registry
from mmsa_suparc.toolkit.modules import module
from mmsa_suparc.toolkit.patching import patch, replace


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


@patch(
    "registries",
    does="registered models appear in AMIO's and ATIO's maps",
    answers="models/AMIO.py:15, trains/ATIO.py:12",
)
def registries(undo: contextlib.ExitStack) -> None:
    def of(part: Literal["model", "trainer"]) -> Callable[[], dict[str, Any]]:
        return lambda: {name: entry.maker(part) for name, entry in registry.registered().items()}

    amio, atio = module("models").AMIO, module("trains").ATIO
    replace(undo, amio, "MODEL_MAP", MapHook("MODEL_MAP", of("model")), new=True)
    replace(undo, atio, "TRAIN_MAP", MapHook("TRAIN_MAP", of("trainer")), new=True)
