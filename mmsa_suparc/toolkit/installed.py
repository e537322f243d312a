"""What the toolkit's installed files say, without importing it: that takes seconds.

Its configuration is JSON. Its registries are dictionaries that two constructors write out, so their
names are read off the source; what models a version of the toolkit has is found in no other way.
"""

from __future__ import annotations

import ast
import importlib.util
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from mmsa_suparc.errors import UserError
from mmsa_suparc.toolkit.patching import PatchError

#: The attributes that name its trainers and its models, and the files that set them.
REGISTRIES = {"TRAIN_MAP": "trains/ATIO.py", "MODEL_MAP": "models/AMIO.py"}


def folder() -> Path:
    """Where the package lies.

    Raises:
        UserError: it is not installed.
    """
    spec = importlib.util.find_spec("MMSA")
    if spec is None or spec.origin is None:
        raise UserError("the MMSA toolkit is not installed; install MMSA>=2.2.1")
    return Path(spec.origin).parent


def config_folder() -> Path:
    """Where the toolkit keeps its JSON files."""
    return folder() / "config"


@lru_cache(maxsize=2)
def default_config(kind: str = "regression") -> dict[str, Any]:
    """``config_regression.json`` or ``config_tune.json`` of the installed toolkit."""
    text = (config_folder() / f"config_{kind}.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content


def has_model(name: str) -> bool:
    """Whether the name is one of the toolkit's own (models, and sections of its configuration)."""
    return name in default_config()


@lru_cache(maxsize=1)
def model_names() -> tuple[str, ...]:
    """The models that the toolkit builds, trains and configures, in its configuration's order."""
    registered = [_keys(folder() / file, name) for name, file in REGISTRIES.items()]
    return tuple(name for name in default_config() if all(name in names for names in registered))


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


def _keys(path: Path, attribute: str) -> set[str]:
    """The keys of the dictionary that a source assigns to ``self.<attribute>``.

    Raises:
        PatchError: it assigns none whose keys are written out.
    """
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            assigned = {getattr(target, "attr", None) for target in node.targets}
            keys = [getattr(key, "value", None) for key in node.value.keys]
            if attribute in assigned and all(isinstance(key, str) for key in keys):
                return {str(key) for key in keys}
    raise PatchError(
        f"{path}: sets no {attribute} with written-out names; this version of mmsa-suparc expects "
        "them. Install MMSA 2.2.1 or a newer mmsa-suparc"
    )
