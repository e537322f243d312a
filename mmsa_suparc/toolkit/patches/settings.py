"""The toolkit asks for configurations; ours answer."""

from __future__ import annotations

import contextlib

from mmsa_suparc.toolkit import settings
from mmsa_suparc.toolkit.modules import module
from mmsa_suparc.toolkit.patching import patch, replace


@patch(
    "configuration",
    does="registered models and data sets have defaults; a file is merged over them; "
    "the data root is an option",
    answers="config.py:8-48, config/*.json",
)
def configuration(undo: contextlib.ExitStack) -> None:
    for owner in (module("run"), module(""), module("config")):
        for name, ours in (
            ("get_config_regression", settings.toolkit_args),
            ("get_config_tune", settings.toolkit_tune_args),
        ):
            replace(undo, owner, name, ours)
