"""The names of all figures of a report, and what is asked of each."""

from __future__ import annotations

import ast
from pathlib import Path

import mmsa_suparc.analysis
from tests.helpers.legends import covered, cut, overlapping, squeezed


def names_in_sources() -> list[str]:
    """What every section calls the figures that it draws: a new one is tested unasked."""
    found = []
    for path in Path(mmsa_suparc.analysis.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "draw":
                parts = [one for one in ast.walk(node.args[0]) if isinstance(one, ast.Constant)]
                found.append("".join(str(one.value) for one in parts).removeprefix("-"))
    return sorted(found)


FIGURES = names_in_sources()
#: Each gives a line a fault.
CHECKS = (covered, cut, overlapping, squeezed)
