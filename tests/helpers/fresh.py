"""The command in a Python that has loaded nothing yet, and what it had loaded when it ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import NamedTuple

#: What costs seconds, or half a second each, to import.
HEAVY = ("torch", "transformers", "MMSA", "pandas", "scipy", "sklearn", "matplotlib", "accelerate")
PROGRAM = f"""
import json, sys
sys.path[:0] = json.loads(sys.argv.pop(1))
absent = set(json.loads(sys.argv.pop(1)))
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *of: None if name in absent else find(name, *of)
from mmsa_suparc.cli import main
try:
    status = main(sys.argv[1:])
except SystemExit as end:
    status = end.code
print(json.dumps([name for name in {HEAVY} if name in sys.modules]))
sys.exit(status)
"""


class Fresh(NamedTuple):
    """How it ended."""

    status: int
    out: str
    err: str
    loaded: list[str]


def fresh(
    *arguments: object,
    path: tuple[str, ...] = (),
    without: tuple[str, ...] = (),
    **environment: str,
) -> Fresh:
    """Run the command.

    Args:
        arguments: of the command.
        path: folders in which packages are looked for first.
        without: packages that it does not find.
        environment: variables of its own.
    """
    done = subprocess.run(
        [
            sys.executable, "-c", PROGRAM, json.dumps(path), json.dumps(without),
            *map(str, arguments),
        ],
        env={**os.environ, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    *lines, loaded = done.stdout.splitlines(keepends=True)
    return Fresh(done.returncode, "".join(lines), done.stderr, json.loads(loaded))
