"""Options that several verbs share."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmsa_suparc.cli import values
from mmsa_suparc.errors import UserError


def add_model_and_data(parser: argparse.ArgumentParser) -> None:
    """``-m -d -c --data-root --text-encoder --set``."""
    parser.add_argument(
        "-m", "--model", default="suparc", metavar="NAME",
        help="model: suparc, one of the toolkit's, or a plugin's (see: mmsa models); "
        "default suparc",
    )  # fmt: skip
    parser.add_argument(
        "-d", "--dataset", default="mosi", metavar="NAME",
        help="data set: mosi, mosei, sims, simsv2; demo, which needs no files; custom, with "
        "--features (see: mmsa datasets); default mosi",
    )  # fmt: skip
    parser.add_argument(
        "-c", "--config", type=values.path, default="", metavar="FILE",
        help="YAML, or the toolkit's JSON; merged over the defaults",
    )  # fmt: skip
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="assignments",
        help="one value of the configuration, above the file; repeatable, dots nest",
    )  # fmt: skip
    parser.add_argument(
        "--data-root", type=values.path, default=None, metavar="DIR",
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


def add_custom(parser: argparse.ArgumentParser) -> None:
    """``--features --metrics --data-name --score-range``: a data set of one's own."""
    parser.add_argument(
        "--features", type=values.path, default=None, metavar="FILE",
        help="the feature file, instead of the data set's own; with -d custom, one's own "
        "(see: mmsa extract)",
    )  # fmt: skip
    parser.add_argument(
        "--metrics", choices=("mosi", "sims"), default=None,
        help="with -d custom: whose metrics; default mosi",
    )  # fmt: skip
    parser.add_argument(
        "--data-name", default=None, metavar="NAME", help="with -d custom: what to call the data"
    )
    add_score_range(parser)


def add_score_range(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--score-range", nargs=2, type=values.number(-1e6, 1e6), default=None,
        metavar=("LOW", "HIGH"),
        help="lowest and highest score of data of one's own; default -3 3",
    )  # fmt: skip


def score_range(options: argparse.Namespace) -> tuple[float, float]:
    """``--score-range``, checked."""
    low, high = options.score_range or (-3.0, 3.0)
    if not low < high:
        raise UserError(f"--score-range {low:g} {high:g}: expected the lower number first")
    return low, high


def add_extraction(parser: argparse.ArgumentParser, *, recipe: bool = True) -> None:
    """``--recipe --fet-python --max-seconds``: features from videos."""
    if recipe:
        parser.add_argument(
            "--recipe", type=values.path, default="default", metavar="NAME|FILE",
            help="what to extract: plugin_configs/fet; default 'default', openSMILE and mediapipe",
        )  # fmt: skip
    parser.add_argument(
        "--fet-python", type=values.path, default=None, metavar="FILE",
        help="the Python of the environment that has MMSA-FET (or set MMSA_FET_PYTHON); "
        "default this one",
    )  # fmt: skip
    parser.add_argument(
        "--max-seconds", type=values.number(0.01, 600), default=60.0, metavar="N",
        help="longest clip; default 60",
    )  # fmt: skip


def end_cleanly() -> None:
    """SIGTERM ends the program as Ctrl-C does: temporary files and processes are gone."""
    import signal

    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def extraction_limits(options: argparse.Namespace) -> Any:
    """What one clip may cost."""
    from mmsa_suparc.videos.media import Limits

    return Limits(seconds=options.max_seconds, wait=max(25.0, options.max_seconds / 2))


def given(options: argparse.Namespace) -> list[Any]:
    """The layers of values that these options give above a file: ``--set``, then flags."""
    from mmsa_suparc.config import Layer, assignments

    flags: dict[str, Any] = {}
    if options.text_encoder is not None:
        flags["pretrained"] = options.text_encoder
    if getattr(options, "epochs", None) is not None:
        flags["epochs"] = options.epochs
    flags.update(of_own_data(options, [options.dataset]))
    return [assignments(options.assignments), Layer("command line", flags)]


def of_own_data(options: argparse.Namespace, datasets: Sequence[str]) -> dict[str, Any]:
    """The values that :func:`add_custom`'s options give, for a command on these data sets."""
    flags: dict[str, Any] = {}
    if getattr(options, "features", None) is not None:
        path = Path(options.features).expanduser()
        if not path.is_file():
            raise UserError(
                f"--features {options.features}: no such file; expected a feature file, as mmsa "
                "extract writes it"
            )
        flags["featurePath"] = str(path.resolve())
    for name in ("metrics", "data_name"):
        if getattr(options, name, None) is not None:
            flags[name] = getattr(options, name)
    if not re.fullmatch(r"[\w.-]+", flags.get("data_name", "own")):
        raise UserError(
            f"--data-name {flags['data_name']}: it names files; expected letters, digits, . _ -"
        )
    if getattr(options, "score_range", None) is not None:
        flags["score_range"] = list(score_range(options))
    only = set(flags) - {"featurePath"}
    if only and set(datasets) != {"custom"}:
        flag = "--" + min(only).replace("_", "-")
        raise UserError(f"{flag} is for data of one's own: -d custom --features FILE")
    return flags


def file_to_write(name: str) -> Path:
    """What ``--out`` names.

    Raises:
        UserError: a folder.
    """
    out = Path(name).expanduser()
    if out.is_dir():
        raise UserError(f"--out {out}: is a folder; expected a file to write")
    return out


def load_config(options: argparse.Namespace) -> Any:
    """The merged configuration that these options name, without torch and the toolkit."""
    from mmsa_suparc import announced
    from mmsa_suparc.toolkit import settings

    announced.announce()
    return settings.load(
        settings.find_model(options.model),
        settings.find_dataset(options.dataset),
        config_file=options.config or None,
        overrides=given(options),
        data_root=options.data_root,
    )


def load_to_train(options: argparse.Namespace, feature_files: Mapping[str, str]) -> Any:
    """:func:`load_config` for a command that trains: also refuses, before torch and the toolkit
    are loaded, a model that does not run here, files that are not there or have faults, and an
    encoder that is not there.

    Args:
        options: of the command.
        feature_files: files to take modalities from, by ``feature_T``, ``feature_A``,
            ``feature_V``.
    """
    from mmsa_suparc.runs import identity, inputs
    from mmsa_suparc.toolkit import catalogue

    config = load_config(options)
    catalogue.require_runnable(config.model, config.dataset)
    inputs.checked(
        config, feature_files, allow_leak=getattr(options, "allow_leak", True),
        allow_label_range=getattr(options, "allow_label_range", True),
    )  # fmt: skip
    identity.encoder_of(config)  # or refuse it
    return config


def quiet_libraries(verbose: int) -> None:
    """Loading bars and warnings of other libraries, unless asked for; loads none of them."""
    if verbose >= 2:
        return
    import warnings

    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    loaded = sys.modules.get("transformers.utils.logging")
    if loaded is not None:  # it has read the variables already
        loaded.disable_progress_bar()
        loaded.set_verbosity_error()
