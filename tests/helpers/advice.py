"""What a run says on standard error beside what it has to say of its losses."""

from __future__ import annotations

import json
from pathlib import Path


def beside_advice(err: str) -> str:
    """The lines that are no warning of the ``metrics.json`` of a run below this folder.

    Terms that do nothing are frequent where data are small and one epoch is all.
    """
    known = {
        f"mmsa: {path.parent.name.replace('-', ' ')}: {line}"
        for path in Path().rglob("seed-*/metrics.json")
        for line in json.loads(path.read_text()).get("diagnostics", {}).get("warnings", ())
    }
    return "\n".join(line for line in err.splitlines() if line not in known)
