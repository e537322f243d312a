"""The one place that wires toolkit, patches and models, SupArc like any other.

See :mod:`mmsa_suparc` for what these functions promise.
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
from mmsa_suparc.runs import seeds
from mmsa_suparc.runs.trainer import SupArcTrainer, build_suparc
from mmsa_suparc.toolkit import calls, patches, patching, registry

ENTRY_POINTS = "mmsa.models"
logger = logging.getLogger("mmsa_suparc")

#: What is changed in the toolkit while the plugin is registered.
PATCHES = patches.every(seeds.toolkit_run)
#: Entry points that could not be loaded, with the reason; shown by ``mmsa models``.
broken_plugins: dict[str, str] = {}
_loaded_points: set[str] = set()


def register() -> None:
    """See :func:`mmsa_suparc.register`."""
    patching.apply(PATCHES)
    if "suparc" not in registry.registered():
        path = plugin_configs() / "suparc.yaml"
        register_model("suparc", build_suparc, SupArcTrainer, path, schema=SupArcConfig)
    _load_entry_points()


def unregister() -> None:
    """See :func:`mmsa_suparc.unregister`."""
    patching.undo()


def register_model(
    name: str,
    model: Callable[[Any], registry.Model],
    trainer: Callable[[Any], registry.Trainer],
    config: Mapping[str, Any] | str | Path | None = None,
    *,
    schema: type[BaseModel] | None = None,
    overwrite: bool = False,
) -> None:
    """See :func:`mmsa_suparc.register_model`."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UserError(f"model name {name!r}: expected lower case letters, digits and '_'")
    if calls.has_model(name):
        raise UserError(f"model name '{name}': the toolkit has a model of that name")
    if isinstance(config, (str, Path)):
        source, content = Path(config).name, read_file(config)
    else:
        source, content = f"defaults of {name}", dict(config or {})
    entry = registry.RegisteredModel(name, model, trainer, content, source, schema)
    registry.add(entry, overwrite=overwrite)
    patching.apply(PATCHES)


def unregister_model(name: str) -> None:
    """See :func:`mmsa_suparc.unregister_model`."""
    registry.remove(name)


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
