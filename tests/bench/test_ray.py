"""A grid on a Ray cluster of nodes that share no folder: several on this machine, with working,
home and cache folders of their own.

What a path means differs between them where it begins with ``/proc/self/cwd``, the working folder
of whoever opens it: so no node sees what lies in the test's own.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import psutil
import pytest
import yaml

import mmsa_suparc
from mmsa_suparc.bench import cells, plan
from mmsa_suparc.bench.execute import Job
from mmsa_suparc.bench.folder import CellFolder
from mmsa_suparc.bench.ray_cluster import Wanted, execute_with_ray
from mmsa_suparc.data.demo import Demo
from tests.helpers.command import Command, mmsa_in_a_process
from tests.helpers.patience import patience
from tests.helpers.ray_nodes import Nodes, ray_nodes

pytest.importorskip("ray")
pytestmark = pytest.mark.ray
HERE = Path("/proc/self/cwd")


@pytest.fixture
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """A cluster without nodes."""
    with ray_nodes(tmp_path_factory.mktemp("nodes")) as found:
        yield found


@pytest.fixture
def bench(small_root: Path, demo: Demo) -> Callable[..., tuple[object, ...]]:
    """The command for a small grid on data and an encoder in the working folder."""

    def command(*seeds: int, epochs: int) -> tuple[object, ...]:
        file = {"title": "Ray", "data_sets": ["mosi"], "seeds": list(seeds), "reference": "ours",
                "shared": {"epochs": epochs, "early_stop": epochs, "batch_size": 8},
                "variants": {"ours": {"model": "suparc"}}}  # fmt: skip
        Path("bench.yaml").write_text(yaml.safe_dump(file))
        return (
            "bench", "bench.yaml", "--data-root", HERE / "data", "--text-encoder", HERE / "encoder"
        )  # fmt: skip

    shutil.copytree(small_root, "data")
    shutil.copytree(demo.encoder, "encoder")
    return command


def on(nodes: Nodes, *more: object) -> tuple[object, ...]:
    return ("--executor", "ray", "--address", nodes.address, "--cpus", 1, *more)


def wait_for(condition: Callable[[], object], goes_on: Callable[[], bool]) -> None:
    deadline = time.monotonic() + patience(60)
    while not condition():
        assert goes_on()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_a_node_has_not_is_said_before_a_cell_starts(
    nodes: Nodes, bench: Callable[..., tuple[object, ...]], tmp_path: Path
) -> None:
    nodes.start("one")
    command = bench(1, epochs=1)
    done = mmsa_in_a_process(*command, "--out", "out", *on(nodes, "--send-limit", "1K"))
    assert done.returncode == 2, done.out
    assert re.fullmatch(
        r"mmsa: node \S+ \(\w{8}\): has no /proc/self/cwd/data/MOSI/Processed/unaligned_50.pkl, "
        r"whose [\d,]+ bytes are more than --send-limit 1,024: copy it there to the same path, or "
        r"raise the limit\n",
        done.err,
    ), done.err
    assert not list(nodes.cache("one").glob("inputs/*"))
    # A node of another version.
    package = tmp_path / "other" / "mmsa_suparc"
    shutil.copytree(Path(mmsa_suparc.__file__).parent, package)
    with (package / "training" / "loop.py").open("a") as file:
        file.write("# changed\n")
    nodes.start("two", PYTHONPATH=str(package.parent))
    done = mmsa_in_a_process(*command, "--out", "out", *on(nodes))
    assert done.returncode == 2, done.out
    assert re.fullmatch(
        r"mmsa: node \S+ \(\w{8}\): its mmsa_suparc is of other code \(\w+, here \w+\): install "
        r"the same version there\n",
        done.err,
    ), done.err
    # No cluster at all.
    nowhere = ("--executor", "ray", "--address", "127.0.0.1:1")
    done = mmsa_in_a_process(*command, "--out", "out", *nowhere)
    assert done.returncode == 2
    assert done.err.splitlines()[-1].startswith("mmsa: --address 127.0.0.1:1: no Ray cluster there")
    assert [path.name for path in Path("out/cells").glob("*/*")] == ["spec.json"]


def test_a_cluster_is_started_where_none_is_named(demo: Demo) -> None:
    file = {"data_sets": ["demo"], "seeds": [1], "shared": {"epochs": 1}, "reference": "ours",
            "variants": {"ours": {"model": "suparc"}, "lf_dnn": {}}}  # fmt: skip
    Path("bench.yaml").write_text(yaml.safe_dump(file))
    done = mmsa_in_a_process("bench", "bench.yaml", "--out", "out", "--executor", "ray")
    assert done.returncode == 0, done.out + done.err
    assert "2 of 2 done" in done.out
    assert "sent " not in done.out  # it is on this machine
    assert not [path for path in Path("out/cells").iterdir() if path.name.startswith(".") and
                path.is_dir()]  # fmt: skip


def test_a_grid_ends_as_on_one_machine_though_a_node_is_killed(
    nodes: Nodes, bench: Callable[..., tuple[object, ...]]
) -> None:
    nodes.start("one", cpus=2)
    nodes.start("two")
    run = bench(1, 2, 3, 4, epochs=60)
    with Command(*run, "--out", "out", *on(nodes)) as command:
        wait_for(
            lambda: list(nodes.cache("two").glob("cells/.*/seed-*/state-*.json")),
            lambda: command.poll() is None,
        )
        nodes.kill("two")
        command.wait()
    assert command.returncode == 0, command.out + command.err
    assert "4 of 4 done" in command.out
    assert len(re.findall(r"seed \d: its worker was killed .*; again, 1 of 2", command.out)) == 1
    # Two cells at a time on the first node, and two inputs: each was sent there once.
    sent = re.findall(r"^sent /proc/self/cwd/(\S+) to node \S+ \((\w{8})\)$", command.out, re.M)
    assert len(sent) == len(set(sent)) == 4
    assert len(list(nodes.cache("one").glob("inputs/*/*"))) == 2
    for name in ("one", "two"):
        assert list((nodes.folder / name / "work").iterdir()) == []
    assert list(nodes.cache("one").glob("cells/.*")) == []
    # The same cells, by their addresses, and the same predictions.
    local = mmsa_in_a_process(*run, "--out", "local", "--jobs", 2)
    assert local.returncode == 0, local.out + local.err
    ours, theirs = (
        {path.parts[2]: pd.read_csv(path) for path in Path(out).glob("cells/*/*/predictions.csv")}
        for out in ("out", "local")
    )
    assert len(ours) == 4
    assert ours.keys() == theirs.keys()
    for address, table in ours.items():
        pd.testing.assert_frame_equal(table, theirs[address])
    # What came back is a cell as any other.
    shutil.rmtree("local")
    done = mmsa_in_a_process(*run, "--out", "out", "--jobs", 2)
    assert "4 trainings are done already" in done.out


def test_a_cell_goes_on_elsewhere_from_the_state_that_came_back(
    nodes: Nodes, bench: Callable[..., tuple[object, ...]], registered: None
) -> None:
    bench(1, epochs=200)
    nodes.start("head", cpus=0)
    nodes.start("one")
    file = plan.read(Path("bench.yaml"))
    shared = {"pretrained": str(HERE / "encoder"), "save_every": 1}
    (cell,) = plan.make_plan(file, shared=shared).cells
    found = cells.identity(cell, str(HERE / "data"), device="cpu")
    folder = CellFolder(Path("out/cells").absolute() / cells.address(found))
    cells.write_spec(folder, cell, found, (), str(HERE / "data"), keep_model=True)
    notes: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(
            execute_with_ray,
            [Job("cell", folder, done=False, failed=False)],
            address=nodes.address,
            wanted=Wanted(state_every=0.5),
            on_note=notes.append,
        )
        wait_for(lambda: list(folder.path.glob("seed-1/state-*.json")), lambda: not running.done())
        nodes.kill("one")
        before = pd.read_csv(folder.path / "seed-1" / "history.csv")["train_seconds"]
        saved = max(
            int(state.stem.removeprefix("state-"))
            for state in folder.path.glob("seed-1/state-*.json")
        )
        nodes.start("two")
        (outcome,) = running.result(patience(120))
    assert outcome.ok, folder.last_lines()
    assert any("again, 1 of 2" in note for note in notes), notes
    after = pd.read_csv(folder.path / "seed-1" / "history.csv")["train_seconds"]
    assert len(after) == 200
    # An epoch that was not repeated has its time from before.
    assert 0 < saved <= len(before)
    assert list(after[:saved]) == list(before[:saved])
    assert folder.records()[0]["identity"]["configuration.pretrained"] == str(HERE / "encoder")
    environment = json.loads((folder.path / "seed-1" / "environment.json").read_text())
    assert environment["feature_file"] == str(HERE / "data/MOSI/Processed/unaligned_50.pkl")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_command_leaves_no_cell_behind(
    nodes: Nodes, bench: Callable[..., tuple[object, ...]], number: int
) -> None:
    nodes.start("one")
    run = bench(1, epochs=10_000)
    with Command(*run, "--out", "out", *on(nodes)) as command:
        wait_for(
            lambda: list(nodes.cache("one").glob("cells/.*/seed-*/state-*.json")),
            lambda: command.poll() is None,
        )
        command.send_signal(number)
        command.wait()
    assert command.returncode == 128 + number, command.out + command.err
    assert command.err == "mmsa: stopped; the same command goes on\n"
    deadline = time.monotonic() + patience(10)
    while cell_processes(nodes.cache("one")):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def cell_processes(cache: Path) -> list[list[str]]:
    """Those that work below a node's cache folder."""
    words = [each.info["cmdline"] or [] for each in psutil.process_iter(["cmdline"])]
    return [line for line in words if any(word.startswith(str(cache)) for word in line)]
