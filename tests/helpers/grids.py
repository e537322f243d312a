"""Small grids for a cluster's jobs, and what their folders tell."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import yaml


def bench_file(*variants: str, epochs: int, seeds: tuple[int, ...] = (1,)) -> None:
    content = {
        "title": "Test", "data_sets": ["demo"], "seeds": list(seeds),
        "shared": {"epochs": epochs}, "variants": {name: {"model": name} for name in variants},
    }  # fmt: skip
    Path("bench.yaml").write_text(yaml.safe_dump(content))


def cell() -> Path:
    """The only one's folder."""
    (folder,) = Path("out/cells").iterdir()
    return folder


def log() -> str:
    return "".join(path.read_text() for path in Path("out/cells").glob("*/cell.log"))


def seconds_of_epoch_1() -> float | None:
    """What the newest saved state says that it took, which no second training would repeat."""
    for state in sorted(cell().rglob("state-*.json"), reverse=True):
        return float(re.findall(r'"train_seconds": ([\d.e-]+)', state.read_text())[0])
    return None


def went_on_after(seconds: float | None) -> bool:
    """Whether the finished training has that first epoch, and every other one once."""
    history = pd.read_csv(cell() / "seed-1" / "history.csv")
    assert list(history["epoch"]) == list(range(1, len(history) + 1))
    return history["train_seconds"][0] == seconds


def jobs_submitted() -> int:
    return len(list(Path("out/slurm").glob("*_submitted.pkl")))
