"""Versions, devices, precision, paths found, and the repairs in force."""

from __future__ import annotations

import argparse
import platform

from mmsa_suparc.cli import values


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
    parser.add_argument("-v", "--verbose", type=int, choices=(0, 1, 2), default=1)


def handle(options: argparse.Namespace) -> int:
    from importlib import metadata

    import torch
    from rich.table import Table

    import mmsa_suparc
    from mmsa_suparc import plugin
    from mmsa_suparc.cli.console import console, print_whole
    from mmsa_suparc.cli.options import quiet_libraries
    from mmsa_suparc.data.cache import cache_folder
    from mmsa_suparc.data.text import encoder_config, find_encoder
    from mmsa_suparc.errors import SupArcError
    from mmsa_suparc.toolkit import settings
    from mmsa_suparc.training.runtime import Runtime, find_device

    quiet_libraries(options.verbose)
    mmsa_suparc.register()
    table = Table(show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    table.add_row("mmsa-suparc", mmsa_suparc.__version__)
    table.add_row("python", f"{platform.python_version()} on {platform.platform(terse=True)}")
    for name in ("MMSA", "torch", "transformers", "numpy", "pandas", "pydantic"):
        table.add_row(name, metadata.version(name))
    cuda = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    table.add_row("CUDA devices", ", ".join(cuda) or "none")
    device = find_device(None)
    table.add_row("default device", f"{device}, {torch.get_num_threads()} threads")
    table.add_row("precision (auto)", Runtime.choose(device).precision)
    table.add_row("cache folder", str(cache_folder()))
    for name in settings.dataset_names():
        if name == "custom":
            continue  # the user names its file
        config = settings.load("suparc", name, data_root=options.data_root)
        found = "found" if config.feature_path.is_file() else "not found"
        table.add_row(f"data set {name}", f"{found}: {config.feature_path}")
    encoder = options.text_encoder or settings.load("suparc", "mosi").values["pretrained"]
    try:
        width = encoder_config(find_encoder(encoder)).hidden_size
        table.add_row("text encoder", f"found: {encoder}, width {width}")
    except SupArcError as error:
        table.add_row("text encoder", str(error))
    table.add_row("videos", _videos())
    print_whole(table)

    repairs = Table(title="Repairs in force", title_justify="left")
    for column in ("repair", "what it does", "toolkit lines"):
        repairs.add_column(column, overflow="fold")
    for patch in plugin.PATCHES:
        repairs.add_row(patch.name, patch.does, patch.answers)
    console().print(repairs)
    return 0


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
