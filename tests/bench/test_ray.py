"""A grid on a Ray cluster of nodes that share no folder: two on this machine, with working, home
and cache folders of their own.

What a path means differs between them where it begins with ``/proc/self/cwd``, the working folder
of whoever opens it: so no node sees what lies in the test's own.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.helpers.command import Command
from tests.helpers.patience import patience
from tests.helpers.ray_nodes import Nodes, ray_nodes

pytest.importorskip("ray")
HERE = Path("/proc/self/cwd")


@pytest.fixture
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with ray_nodes(tmp_path_factory.mktemp("nodes")) as found:
        found.start("one")
        yield found


@pytest.fixture
def bench(small_root: Path, demo: object, monkeypatch: pytest.MonkeyPatch) -> tuple[object, ...]:
    """The command for a small grid on data and an encoder in the working folder."""
    shutil.copytree(small_root, "data")
    shutil.copytree(demo.encoder, "encoder")
    shared = {"epochs": 40, "early_stop": 40, "batch_size": 8}
    variants = {"ours": {"model": "suparc"}, "narrow": {"model": "suparc", "set": {"margin": 0.2}}}
    file = {"title": "Ray", "data_sets": ["mosi"], "seeds": [1, 2], "shared": shared,
            "reference": "ours", "variants": variants}  # fmt: skip
    Path("bench.yaml").write_text(yaml.safe_dump(file))
    return ("bench", "bench.yaml", "--data-root", HERE / "data", "--text-encoder", HERE / "encoder")


def on(nodes: Nodes, *more: object) -> tuple[object, ...]:
    return ("--executor", "ray", "--address", nodes.address, "--cpus", 1, *more)


def predictions(out: str) -> dict[tuple[str, int], pd.DataFrame]:
    """By variant and seed."""
    found = {}
    for path in Path(out, "cells").glob("*/spec.json"):
        cell = json.loads(path.read_text())["cell"]
        table = pd.read_csv(path.parent / f"seed-{cell['seed']}" / "predictions.csv")
        found[cell["variant"], cell["seed"]] = table
    return found


def test_a_grid_goes_on_when_a_node_is_killed(nodes: Nodes, bench: tuple[object, ...]) -> None:
    nodes.start("two")
    with Command(*bench, "--out", "out", *on(nodes)) as command:
        deadline = time.monotonic() + patience(60)
        while not list(nodes.cache("two").glob("cells/.*/seed-*/state-*.json")):
            assert command.poll() is None, command.out + command.err
            assert time.monotonic() < deadline, command.out + command.err
            time.sleep(0.05)
        nodes.kill("two")
        command.wait()
    print(command.out, command.err)
    assert command.returncode == 0, command.out + command.err
