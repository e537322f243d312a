"""Versions, machine and command: what one needs to run the same again."""

from __future__ import annotations

import contextlib
import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path

from mmsa_suparc.version import __version__

#: Seconds that git may take.
PATIENCE = 10


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Of this package, with its commit where that is known, and of others, of Python, and the
    machine's own description."""
    found = commit()
    return {
        "mmsa_suparc": __version__,
        **({} if found is None else {"commit": found}),
        **{name: metadata.version(name) for name in packages},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
    }


@cache
def commit() -> str | None:
    """The commit of this package's sources: of the checkout that they lie in, with ``-dirty`` where
    they were changed since; or the one that pip installed. None where neither is known."""
    version_file = Path(__file__).parents[1] / "version.py"
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        for arguments in (
            ["ls-files", "--error-unmatch", version_file.name],  # else it is another's checkout
            ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
        ):
            done = subprocess.run(
                ["git", "-C", str(version_file.parent), *arguments],
                capture_output=True, text=True, timeout=PATIENCE, check=True,
            )  # fmt: skip
        return done.stdout.strip()
    with contextlib.suppress(metadata.PackageNotFoundError, ValueError, KeyError):
        installed = metadata.distribution("mmsa-suparc").read_text("direct_url.json") or "{}"
        return str(json.loads(installed)["vcs_info"]["commit_id"])
    return None


def processor() -> str:
    """The processor's name, as the system tells it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def command() -> str:
    """The command line that started this process."""
    return shlex.join(sys.argv)
