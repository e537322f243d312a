"""Options that several verbs share."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any


def add_model_and_data(parser: argparse.ArgumentParser) -> None:
    """``-m -d -c --data-root --text-encoder --set``."""
    parser.add_argument(
        "-m", "--model", default="suparc", metavar="NAME",
        help="model: suparc, one of the toolkit's, or a plugin's (see: mmsa models); "
        "default suparc",
    )  # fmt: skip
    parser.add_argument(
        "-d", "--dataset", default="mosi", metavar="NAME",
        help="data set: mosi, mosei, sims, or demo, which needs no files (see: mmsa datasets); "
        "default mosi",
    )  # fmt: skip
    parser.add_argument(
        "-c", "--config", default="", metavar="FILE",
        help="YAML, or the toolkit's JSON; merged over the defaults",
    )  # fmt: skip
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="assignments",
        help="one value of the configuration, above the file; repeatable, dots nest",
    )  # fmt: skip
    parser.add_argument(
        "--data-root", default=None, metavar="DIR",
        help="folder that holds MOSI/Processed/… (or set MMSA_DATA_ROOT)",
    )  # fmt: skip
    parser.add_argument(
        "--text-encoder", default=None, metavar="NAME_OR_PATH",
        help="Hugging Face encoder, by name or folder, for every model that uses one",
    )  # fmt: skip


def add_allowances(parser: argparse.ArgumentParser) -> None:
    """``--allow-leak --allow-label-range``: for those who know their file."""
    parser.add_argument("--allow-leak", action="store_true", help="clips may be in two splits")
    parser.add_argument(
        "--allow-label-range", action="store_true", help="scores may be beyond the data set's range"
    )


def given(options: argparse.Namespace) -> list[Any]:
    """The layers of values that these options give above a file: ``--set``, then flags."""
    from mmsa_suparc.config import Layer, assignments

    flags: dict[str, Any] = {}
    if options.text_encoder is not None:
        flags["pretrained"] = options.text_encoder
    if getattr(options, "epochs", None) is not None:
        flags["epochs"] = options.epochs
    return [assignments(options.assignments), Layer("command line", flags)]


def load_config(options: argparse.Namespace) -> Any:
    """The merged configuration that these options name; registers the plugin."""
    import mmsa_suparc
    from mmsa_suparc.host import configs

    mmsa_suparc.register()
    return configs.load(
        configs.find_model(options.model),
        configs.find_dataset(options.dataset),
        config_file=options.config or None,
        overrides=given(options),
        data_root=options.data_root,
    )


def quiet_libraries(verbose: int) -> None:
    """Loading bars and warnings of other libraries, unless asked for."""
    if verbose >= 2:
        return
    import warnings

    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
