"""A cell on a machine of a Ray cluster that shares no folder with the one that asked for it.

What the asking machine sends and is sent back are the plain values below. This side knows Ray only
to fetch an input that it lacks; it imports nothing heavy, since each Ray worker does so anew.
"""

from __future__ import annotations

import os
import platform
import secrets
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmsa_suparc.data import archives, fingerprints, inputs
from mmsa_suparc.data.archives import Archive
from mmsa_suparc.data.cache import cache_folder, one_maker, remove, sweep
from mmsa_suparc.data.inputs import Found, Input
from mmsa_suparc.errors import SupArcError
from mmsa_suparc.runs import identity
from mmsa_suparc.toolkit.settings import ENVIRONMENT_DATA_ROOT

#: What a run needs of its folder only while it trains there.
NOT_SENT = {"checkpoint.pth"}
#: The options of ``mmsa cell`` for what lies elsewhere here.
OPTIONS = {"featurePath": "--feature-file", "pretrained": "--text-encoder"}


@dataclass(frozen=True)
class Machine:
    """What a node is, and what of some inputs it lacks."""

    name: str
    code: str
    ground: Mapping[str, str]
    lacks: tuple[Input, ...]


@dataclass(frozen=True)
class Work:
    """A cell to be run.

    Args:
        address: the name of its folder.
        folder: what the asking machine has of it: what to do, and how far it has come.
        inputs: what it reads.
        code_parts: the parts of the package that ``code`` is of.
        code: their fingerprint on the asking machine.
        threads: of its process.
        gpus: whether it was given any.
        state_every: seconds after which a new state is sent back.
    """

    address: str
    folder: Archive
    inputs: tuple[Input, ...]
    code_parts: tuple[str, ...]
    code: str
    threads: int
    gpus: bool
    state_every: float


@dataclass(frozen=True)
class Started:
    """The cell's process runs, on this node; these inputs were received for it."""

    node: str
    received: tuple[Input, ...]


@dataclass(frozen=True)
class Lacks:
    """The cell did not start: the node lacks these, and nobody has sent them yet."""

    node: str
    inputs: tuple[Input, ...]


@dataclass(frozen=True)
class Refused:
    """The cell did not start, or its folder could not be sent back."""

    status: int
    line: str


@dataclass(frozen=True)
class State:
    """The cell's folder after one more epoch."""

    folder: Archive


@dataclass(frozen=True)
class Ended:
    """The cell's process has ended."""

    status: int
    seconds: float
    folder: Archive


Message = Started | Lacks | Refused | State | Ended


def machine(code_parts: tuple[str, ...], wanted: Iterable[Input], device: str) -> Machine:
    """This node, for the asking machine to compare with itself."""
    return Machine(
        node_name(),
        fingerprints.of_code(code_parts),
        identity.of_surroundings(device),
        tuple(each for each in wanted if _find(each) is None),
    )


def node_name() -> str:
    """As messages call this node."""
    import ray

    return f"{platform.node()} ({ray.get_runtime_context().get_node_id()[:8]})"


def run(work: Work, sent: Mapping[Input, Any]) -> Iterator[Message]:
    """Run a cell in a process of its own; tell how it goes, ending with Ended, Lacks or Refused.

    Args:
        work: the cell.
        sent: by input, the reference of its archive in the object store.
    """
    node = node_name()
    found_code = fingerprints.of_code(work.code_parts)
    if found_code != work.code:
        yield Refused(2, other_code(node, found_code, work.code))
        return
    try:
        received = tuple(each for each in work.inputs if each in sent and _receive(each, sent))
        found = {each: _find(each) for each in work.inputs}
        lacking = tuple(each for each, place in found.items() if place is None)
        if lacking:
            yield Lacks(node, lacking)
            return
        yield Started(node, received)
        sweep()
        with one_maker(work.address):
            scratch = cache_folder("cells") / f".{work.address}.{secrets.token_hex(4)}"
            try:
                archives.unpack(work.folder, scratch)
                yield from _train(work, scratch, {k: v for k, v in found.items() if v is not None})
            finally:
                remove(scratch)
    except SupArcError as error:
        yield Refused(error.status, f"node {node}: {error}")


def other_code(node: str, found: str, expected: str) -> str:
    """Why a node of another version runs nothing."""
    return (
        f"node {node}: its mmsa_suparc is of other code ({found}, here {expected}): install the "
        "same version there"
    )


def _receive(wanted: Input, sent: Mapping[Input, Any]) -> bool:
    """Take an input out of the object store where this machine lacks it."""
    import ray

    if _find(wanted) is not None:
        return False
    return inputs.keep(wanted, lambda: ray.get(sent[wanted]))


def _find(wanted: Input) -> Found | None:
    return inputs.find(wanted, os.environ.get(ENVIRONMENT_DATA_ROOT))


def _train(work: Work, scratch: Path, found: Mapping[Input, Found]) -> Iterator[Message]:
    """The cell's process, its states whenever there is a new one, and its end."""
    started = time.monotonic()
    with (scratch / "cell.log").open("ab") as log:
        process = subprocess.Popen(
            _command(scratch, found), stdout=log, stderr=subprocess.STDOUT, cwd=scratch.parent,
            env=_environment(work, found), start_new_session=True,
        )  # fmt: skip
    try:
        known: set[Path] = set(scratch.glob("seed-*/state-*.json"))
        while True:
            try:
                status = process.wait(timeout=work.state_every)
                break
            except subprocess.TimeoutExpired:
                states = set(scratch.glob("seed-*/state-*.json"))
                if states - known:
                    yield State(pack_cell(scratch))
                known = states
    finally:
        process.kill()  # the task was cancelled
        process.wait()
    yield Ended(status, time.monotonic() - started, pack_cell(scratch))


def pack_cell(folder: Path) -> Archive:
    """What another machine needs of a cell's folder: neither locks nor what is half written."""
    files = [
        path for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in NOT_SENT
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]  # fmt: skip
    return archives.pack(folder, files)


def _command(folder: Path, found: Mapping[Input, Found]) -> list[str]:
    options = [word for each, place in found.items() for word in (OPTIONS[each.key], place.name)]
    return [sys.executable, "-m", "mmsa_suparc", "cell", str(folder), *options]


def _environment(work: Work, found: Mapping[Input, Found]) -> dict[str, str]:
    """That of this worker, with the code that was looked at and no GPU that was not asked for."""
    own = str(Path(__file__).parents[2])  # installed packages are found without
    paths = ["" if own == sysconfig.get_path("purelib") else own, os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "OMP_NUM_THREADS": str(work.threads),
        "MKL_NUM_THREADS": str(work.threads),
        "MMSA_BENCH_PARENT": str(os.getpid()),
    }
    if not work.gpus:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    for place in found.values():
        if place.hub:  # this revision, not a newer one
            environment |= {"HF_HUB_CACHE": place.hub, "HF_HUB_OFFLINE": "1"}
    return environment
