"""Versions, machine and command: what one needs to run the same again."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable
from importlib import metadata

from mmsa_suparc.version import __version__


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Of this package and of others, of Python, and the machine's own description."""
    return {
        "mmsa_suparc": __version__,
        **{name: metadata.version(name) for name in packages},
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def command() -> str:
    """The command line that started this process."""
    return " ".join(sys.argv)
