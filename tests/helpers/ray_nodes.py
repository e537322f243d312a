"""A Ray cluster of several nodes on this machine, each with folders of its own."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest


class Nodes:
    """Nodes that share nothing but the machine: working, home and cache folders are their own.

    Args:
        folder: below which they are, by the node's name.
    """

    def __init__(self, folder: Path) -> None:
        from ray.cluster_utils import Cluster

        self.folder = folder
        self._cluster = Cluster()
        self._nodes: dict[str, Any] = {}

    @property
    def address(self) -> str:
        """What ``--address`` takes."""
        return str(self._cluster.address)

    def start(self, name: str, *, cpus: int = 1, **environment: str) -> None:
        """A node; the first one is the cluster's head."""
        own = self.folder / name
        for place in ("work", "home"):
            (own / place).mkdir(parents=True)
        variables = {
            "HOME": str(own / "home"),
            "MMSA_SUPARC_CACHE": str(self.cache(name)),
            **environment,
        }
        before = os.getcwd()
        os.chdir(own / "work")
        try:
            self._nodes[name] = self._cluster.add_node(
                num_cpus=cpus, env_vars=variables, include_dashboard=False
            )
        finally:
            os.chdir(before)

    def cache(self, name: str) -> Path:
        return self.folder / name / "cache"

    def kill(self, name: str) -> None:
        """Its processes and all that they have started, at once."""
        node = self._nodes.pop(name)
        processes = [
            psutil.Process(each.process.pid)
            for group in node.all_processes.values()
            for each in group
        ]
        for process in processes:
            for child in [*process.children(recursive=True), process]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()

    def stop(self) -> None:
        self._cluster.shutdown()


@contextlib.contextmanager
def ray_nodes(folder: Path) -> Iterator[Nodes]:
    """A cluster that is still without nodes."""
    patch = pytest.MonkeyPatch()
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as temporary:
        patch.setenv("RAY_TMPDIR", temporary)  # names of sockets may not be long
        nodes = Nodes(folder)
        try:
            yield nodes
        finally:
            nodes.stop()
            patch.undo()
