"""Versions, devices, precision, paths found, and the repairs in force."""

from __future__ import annotations

import argparse
import platform
from typing import Any

from mmsa_suparc.cli import values
from mmsa_suparc.cli.json_output import add_json, print_json

#: How to say where the data sets are.
DATA_ROOT = "--data-root DIR or MMSA_DATA_ROOT"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data-root",
        type=values.path,
        default=None,
        metavar="DIR",
        help="where to look (or set MMSA_DATA_ROOT)",
    )
    parser.add_argument(
        "--text-encoder", default=None, metavar="NAME_OR_PATH", help="encoder to look for"
    )
    add_json(parser)
    parser.add_argument("-v", "--verbose", type=int, choices=(0, 1, 2), default=1)


def handle(options: argparse.Namespace) -> int:
    import mmsa_suparc
    from mmsa_suparc import plugin
    from mmsa_suparc.cli.options import quiet_libraries

    quiet_libraries(options.verbose)
    mmsa_suparc.register()
    facts = _facts(options)
    if options.json:
        repairs = [
            {"name": patch.name, "does": patch.does, "toolkit_lines": patch.answers}
            for patch in plugin.PATCHES
        ]
        print_json({"facts": facts, "repairs": repairs})
        return 0
    _print(facts, plugin.PATCHES)
    return 0


def _facts(options: argparse.Namespace) -> dict[str, str]:
    """What is asked of this machine, in words."""
    from importlib import metadata

    import torch

    from mmsa_suparc.data.cache import cache_folder
    from mmsa_suparc.data.text import encoder_config, find_encoder
    from mmsa_suparc.errors import SupArcError
    from mmsa_suparc.toolkit import settings
    from mmsa_suparc.training.runtime import Runtime, find_device
    from mmsa_suparc.version import __version__

    facts = {
        "mmsa-suparc": __version__,
        "python": f"{platform.python_version()} on {platform.platform(terse=True)}",
    }
    for name in ("MMSA", "torch", "transformers", "numpy", "pandas", "pydantic"):
        facts[name] = metadata.version(name)
    cuda = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    facts["CUDA devices"] = ", ".join(cuda) or "none"
    device = find_device(None)
    facts["default device"] = f"{device}, {torch.get_num_threads()} threads"
    facts["precision (auto)"] = Runtime.choose(device).precision
    facts["cache folder"] = str(cache_folder())
    for name in settings.dataset_names():
        if name == "custom":
            continue  # the user names its file
        config = settings.load("suparc", name, data_root=options.data_root)
        found = "found" if config.feature_path.is_file() else f"not found ({DATA_ROOT})"
        facts[f"data set {name}"] = f"{found}: {config.feature_path}"
    encoder = options.text_encoder or settings.load("suparc", "mosi").values["pretrained"]
    try:
        width = encoder_config(find_encoder(encoder)).hidden_size
        facts["text encoder"] = f"found: {encoder}, width {width}"
    except SupArcError as error:
        facts["text encoder"] = str(error)
    facts["videos"] = _videos()
    return facts


def _print(facts: dict[str, str], patches: Any) -> None:
    from rich.table import Table

    from mmsa_suparc.cli.console import console, print_whole

    table = Table(show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for name, what in facts.items():
        table.add_row(name, what)
    print_whole(table)
    repairs = Table(title="Repairs in force", title_justify="left")
    for column in ("repair", "what it does", "toolkit lines"):
        repairs.add_column(column, overflow="fold")
    for patch in patches:
        repairs.add_row(patch.name, patch.does, patch.answers)
    console().print(repairs)


def _videos() -> str:
    """Whether ``mmsa extract`` finds ffmpeg and MMSA-FET."""
    from mmsa_suparc.errors import UserError
    from mmsa_suparc.videos.fet import ENVIRONMENT_PYTHON, find_python, has_fet
    from mmsa_suparc.videos.media import ffmpeg

    python = find_python(None)
    found = "MMSA-FET found" if has_fet(python) else "no MMSA-FET"
    try:
        program = ffmpeg()
    except UserError:
        program = "no ffmpeg"
    return f"{found} in {python} ({ENVIRONMENT_PYTHON}); {program}"
