"""Models by name: SupArc's own registration, and the one that others use."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from mmsa_suparc.config import SupArcConfig, plugin_configs, read_file
from mmsa_suparc.errors import UserError, nearest
from mmsa_suparc.toolkit import modules, patching

ENTRY_POINTS = "mmsa.models"
logger = logging.getLogger("mmsa_suparc")


@dataclass(frozen=True)
class RegisteredModel:
    """A model that a plugin brought: how to build and train it, and its default values."""

    name: str
    model: Callable[..., Any]
    trainer: Callable[..., Any]
    config: Mapping[str, Any] = field(repr=False)
    source: str  # what error messages call its configuration
    schema: type[BaseModel] | None = None


_registered: dict[str, RegisteredModel] = {}
#: Entry points that could not be loaded, with the reason; shown by ``mmsa models``.
broken_plugins: dict[str, str] = {}
_loaded_points: set[str] = set()


def registered() -> dict[str, RegisteredModel]:
    """The models registered in this process."""
    return dict(_registered)


def register() -> None:
    """See :func:`mmsa_suparc.register`."""
    patching.apply()
    if "suparc" not in _registered:
        from mmsa_suparc.runs.trainer import SupArcTrainer, build_suparc

        path = plugin_configs() / "suparc.yaml"
        register_model("suparc", build_suparc, SupArcTrainer, path, schema=SupArcConfig)
    _load_entry_points()


def unregister() -> None:
    """See :func:`mmsa_suparc.unregister`."""
    patching.undo()


def register_model(
    name: str,
    model: Callable[..., Any],
    trainer: Callable[..., Any],
    config: Mapping[str, Any] | str | Path | None = None,
    *,
    schema: type[BaseModel] | None = None,
) -> None:
    """See :func:`mmsa_suparc.register_model`.

    Args:
        schema: a pydantic model of the configuration; derived from the defaults' types if
            there is none.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UserError(f"model name {name!r}: expected lower case letters, digits and '_'")
    if name in modules.default_config():
        raise UserError(f"model name '{name}': the toolkit has a model of that name")
    known = _registered.get(name)
    if known is not None and (known.model, known.trainer) != (model, trainer):
        raise UserError(f"model name '{name}' is taken by {known.model!r}")
    if isinstance(config, (str, Path)):
        source, content = Path(config).name, read_file(config)
    else:
        source, content = f"defaults of {name}", dict(config or {})
    _registered[name] = RegisteredModel(name, model, trainer, content, source, schema)
    patching.apply()


def _load_entry_points() -> None:
    """Let installed packages announce models under the group ``mmsa.models``.

    An entry point is a function to be called without arguments, which calls
    ``mmsa_suparc.register_model``, or a mapping with ``model``, ``trainer`` and ``config``.
    A package that fails is reported by ``mmsa models``; it does not stop the others.
    """
    for point in metadata.entry_points(group=ENTRY_POINTS):
        if point.value in _loaded_points:
            continue
        _loaded_points.add(point.value)
        try:
            target = point.load()
            if isinstance(target, Mapping):
                register_model(point.name, **target)
            else:
                target()
        except Exception as error:
            broken_plugins[point.name] = f"{type(error).__name__}: {error}"
            logger.warning("plugin %s (%s) failed: %s", point.name, point.value, error)


def model_names() -> list[str]:
    """Every model: the toolkit's, in its order, then the registered ones."""
    return [name for name in modules.model_names() if name not in _registered] + list(_registered)


def trainer_offers(name: str, ability: str) -> bool:
    """Whether a registered model's trainer says that it can do this.

    ``takes_arrays``: it needs no float32 copies of the features, only arrays to read.
    ``shares_batches``: several processes may train one model.
    """
    trainer = getattr(_registered.get(name), "trainer", None)
    return bool(getattr(trainer, ability, False))


def find_model(name: str) -> str:
    """The model's name in the registries.

    Raises:
        UserError: unknown; names the nearest.
    """
    if name.lower() not in model_names():
        raise UserError(f"unknown model '{name}'{nearest(name, model_names())} (see: mmsa models)")
    return name.lower()
