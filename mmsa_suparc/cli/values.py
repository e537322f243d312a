"""What an option may hold: argparse types that say what they found and what they expect."""

from __future__ import annotations

import argparse
import errno
import os
import re
from collections.abc import Callable
from pathlib import Path

from mmsa_suparc.errors import UserError, shown
from mmsa_suparc.names import LARGEST_SEED, MOST_EPOCHS

#: Bytes of a name and of a path: what Linux allows, less what is written inside a folder.
LONGEST_NAME, LONGEST_PATH = 255, 3_800
#: Why there can be no file of that path, now or later.
PATH_ERRORS = {errno.ENAMETOOLONG, errno.ELOOP}


def whole(least: int, most: int) -> Callable[[str], int]:
    """A whole number within bounds."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(
                f"found {shown(text)}, expected a whole number from {least} to {most}"
            )
        return number

    return read


def number(least: float, most: float) -> Callable[[str], float]:
    """A number within bounds; NaN is within none."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(
                f"found {shown(text)}, expected a number from {least:g} to {most:g}"
            )
        return value

    return read


def size(text: str) -> int:
    """Bytes, as a number with K, M, G or T for powers of 1,024."""
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?)\s*([KMGT]?)(?:I?B)?", text.strip().upper())
    if found is None:
        raise argparse.ArgumentTypeError(f"found {shown(text)}, expected a size as 500M or 2G")
    return int(float(found[1]) * 1024 ** " KMGT".index(found[2] or " "))


seed = whole(0, LARGEST_SEED)
epochs = whole(1, MOST_EPOCHS)
#: Trainings, clips or trials at a time.
jobs = whole(1, 1_024)


def device(name: str | None) -> str | None:
    """The name of a device, as far as can be told without torch, which says whether it is there.

    Raises:
        UserError: no machine has one of that name, or this one has none of its kind.
    """
    if name is not None and not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", name):
        raise UserError(f"--device {name}: no such device; expected cpu, cuda or cuda:N")
    if name is not None:
        from mmsa_suparc.training import cuda

        cuda.require(name)
    return name


def words(text: str) -> list[str]:
    """Words between commas."""
    return [word.strip() for word in text.split(",")]


def jobs_or_auto(text: str) -> int | None:
    """Likewise, or None where the machine decides."""
    if text == "auto":
        return None
    try:
        return jobs(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, or auto") from None


def path(text: str) -> str:
    """The path of a file or folder that there can be."""
    names = Path(text).parts
    if any(len(os.fsencode(name)) > LONGEST_NAME for name in names):
        raise argparse.ArgumentTypeError(
            f"found {shown(text)}, expected names of at most {LONGEST_NAME} bytes"
        )
    if len(os.fsencode(text)) > LONGEST_PATH:
        raise argparse.ArgumentTypeError(
            f"found {shown(text)}, expected a path of at most {LONGEST_PATH} bytes"
        )
    try:
        os.stat(Path(text).expanduser())
    except RuntimeError:
        raise argparse.ArgumentTypeError(f"found {shown(text)}: no user of that name") from None
    except OSError as error:
        if error.errno in PATH_ERRORS:
            raise argparse.ArgumentTypeError(f"found {shown(text)}: {error.strerror}") from None
    return text
