"""The models that are known before torch and the toolkit are loaded.

SupArc, and those that installed packages announce, stand in the registry with their names, schemas
and default values: enough to check a configuration and to plan a benchmark. What they are made of
is imported when the first of them is built.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from mmsa_suparc.config import SupArcConfig, plugin_configs, read_file
from mmsa_suparc.errors import UserError
from mmsa_suparc.toolkit import installed, registry

ENTRY_POINTS = "mmsa.models"
logger = logging.getLogger("mmsa_suparc")

#: Entry points that could not be loaded, with the reason; shown by ``mmsa models``.
broken_plugins: dict[str, str] = {}
_loaded_points: set[str] = set()
_loading: list[str] = []


def announce() -> None:
    """Put SupArc and the models of installed packages into the registry, each once."""
    if "suparc" not in registry.registered():
        add(
            "suparc",
            "mmsa_suparc.runs.trainer:build_suparc",
            "mmsa_suparc.runs.trainer:SupArcTrainer",
            plugin_configs() / "suparc.yaml",
            schema=SupArcConfig,
        )
    _load_entry_points()


def is_announcing() -> bool:
    """Whether a package is asked for its models right now."""
    return bool(_loading)


def add(
    name: str,
    model: Callable[[Any], registry.Model] | str,
    trainer: Callable[[Any], registry.Trainer] | str,
    config: Mapping[str, Any] | str | Path | None = None,
    *,
    schema: type[BaseModel] | None = None,
    overwrite: bool = False,
) -> None:
    """Put a model into the registry; see :func:`mmsa_suparc.register_model`."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UserError(f"model name {name!r}: expected lower case letters, digits and '_'")
    if installed.has_model(name):
        raise UserError(f"model name '{name}': the toolkit has a model of that name")
    if isinstance(config, (str, Path)):
        source, content = Path(config).name, read_file(config)
    else:
        source, content = f"defaults of {name}", dict(config or {})
    entry = registry.RegisteredModel(name, model, trainer, content, source, schema)
    registry.add(entry, overwrite=overwrite)


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
        _loading.append(point.value)
        try:
            target = point.load()
            if isinstance(target, Mapping):
                add(point.name, **target)
            else:
                target()
        except Exception as error:
            broken_plugins[point.name] = f"{type(error).__name__}: {error}"
            logger.warning("plugin %s (%s) failed: %s", point.name, point.value, error)
        finally:
            _loading.pop()
