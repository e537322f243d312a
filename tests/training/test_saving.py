"""When a training is saved, what is in the files, and what becomes of failures."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from mmsa_suparc.bench import cells
from mmsa_suparc.bench.plan import Cell
from mmsa_suparc.data.demo import Demo
from mmsa_suparc.data.files import sha256
from mmsa_suparc.errors import DiskError, StoppedError
from mmsa_suparc.training import checkpoint, saving
from mmsa_suparc.training.saving import HostMemory, Saving
from mmsa_suparc.training.state import State, StateFolder
from tests.helpers.patience import patience
from tests.helpers.small import FAST, make_model
from tests.training.test_loop import fit

ALL_TYPES = {
    str(dtype).removeprefix("torch."): torch.tensor([[0.0, 1.0, 3.0], [1.0, 0.0, 2.0]]).to(dtype)
    for dtype in checkpoint.TYPE_NAMES
}
TIED = torch.randn(4, 3)
ODD = {
    **ALL_TYPES,
    "a number": torch.tensor(7.0),
    "a bool": torch.tensor(True),
    "nothing": torch.empty(0, 3),
    "nothing in bf16": torch.empty(0, dtype=torch.bfloat16),
    "one end": TIED,
    "the other": TIED,
    "turned": TIED.t(),
    "a part": torch.arange(10)[3:5],
    "large": torch.randn(3 * checkpoint.AT_ONCE // 8 + 5),
}


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape), name
        bits = [t.contiguous().reshape(-1).view(torch.uint8) for t in (found[name], tensor)]
        assert torch.equal(*bits), name


# --- Files ----------------------------------------------------------------------------------


def test_safetensors_reads_what_is_streamed(tmp_path: Path) -> None:
    path = tmp_path / "odd.safetensors"
    checksum = checkpoint.save_tensors(path, ODD)
    assert checksum == sha256(path)
    same(load_file(path), ODD)
    with safe_open(path, framework="pt") as content:
        assert set(content.keys()) == set(ODD)
    (tmp_path / "none").mkdir()
    checkpoint.save_tensors(tmp_path / "none.safetensors", {})
    assert load_file(tmp_path / "none.safetensors") == {}


def test_weights_are_the_bytes_that_safetensors_itself_writes(tmp_path: Path) -> None:
    weights = make_model().state_dict()
    checkpoint.save_tensors(tmp_path / "ours", weights)
    save_file({name: t.clone() for name, t in weights.items()}, tmp_path / "theirs")
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


PEAK = """
import re, sys, torch
from pathlib import Path
from mmsa_suparc.training import checkpoint
from mmsa_suparc.training.saving import Saving
from mmsa_suparc.training.state import State, StateFolder
def extra(does):
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
    before = mebibytes("VmRSS")
    does()
    print(mebibytes("VmHWM") - before)
def mebibytes(name):
    status = Path("/proc/self/status").read_text()
    return int(re.search(name + r":\\s+(\\d+)", status)[1]) / 1024
def train():
    with Saving(StateFolder(folder, {}), 1) as saving:
        for epoch in range(1, 5):
            saving.keep(epoch, lambda: State(tensors, {}))
folder = Path(sys.argv[1])
tensors = {f"model.{n}": torch.ones(4 << 20) for n in range(12)}  # 16 MiB each
checkpoint.save_tensors(folder / "warm.safetensors", {"x": torch.ones(3)})
extra(lambda: checkpoint.save_tensors(folder / "x.safetensors", tensors))
extra(lambda: checkpoint.save_torch(folder / "x.pth", tensors))
extra(train)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_a_file_costs_no_memory_and_saving_one_copy(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(tmp_path)],
        capture_output=True, text=True, timeout=patience(120), check=True,
    )  # fmt: skip
    streamed, torch_file, saved = (float(line) / 192 for line in done.stdout.split())
    assert max(streamed, torch_file) < 0.1
    assert 0.9 < saved < 1.1


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("limit", [10, pytest.param(5_000, marks=pytest.mark.slow), 1 << 20])
def test_a_full_disk_is_named(suffix: str, limit: int, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    checkpoint.save_weights(path, {"x": torch.ones(2)})
    before = path.read_bytes()
    program = (
        "import resource, signal, sys, torch\nfrom pathlib import Path\n"
        "from mmsa_suparc.errors import DiskError\n"
        "from mmsa_suparc.training.checkpoint import save_weights\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)\n"
        "try: save_weights(Path(sys.argv[1]), {'x': torch.ones(1 << 20)})\n"
        "except DiskError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path), str(limit)],
        capture_output=True, text=True, timeout=patience(60), check=True,
    )  # fmt: skip
    assert done.stdout == f"cannot write {path}: File too large\n"
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


# --- States ---------------------------------------------------------------------------------


def state_of(epoch: int, best_epoch: int) -> State:
    tensors = {"optimiser.0.step": torch.tensor(float(epoch))}
    if epoch != best_epoch:
        tensors["model.x"] = torch.full((3,), float(epoch))
    return State(tensors, {"best_epoch": best_epoch}, {"x": torch.full((3,), float(best_epoch))})


def best_files(folder: Path) -> dict[str, int]:
    return {p.name: p.stat().st_mtime_ns for p in sorted(folder.glob("state-best-*"))}


def test_best_weights_are_written_when_they_change_and_kept_while_named(tmp_path: Path) -> None:
    states = StateFolder(tmp_path, {})
    seen = []
    for epoch, best in ((1, 1), (2, 1), (3, 3), (4, 3), (5, 3)):
        states.save(epoch, state_of(epoch, best))
        seen.append(best_files(tmp_path))
    names = [[name[11:16] for name in each] for each in seen]
    assert names == [["00001"], ["00001"], ["00001", "00003"], ["00003"], ["00003"]]
    assert seen[0] == seen[1]
    assert seen[3] == seen[4]
    again = StateFolder(tmp_path, {}, resume=True)
    found = again.load()
    assert found is not None
    same(found.best or {}, {"x": torch.full((3,), 3.0)})
    same(found.tensors, state_of(5, 3).tensors)
    again.save(6, state_of(6, 3))  # what was read need not be written again
    assert best_files(tmp_path) == seen[4]
    # Other best weights than those that were written: the states that name them do not count.
    (path,) = tmp_path.glob("state-best-*")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert again.load() is None
    again.clear()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "best",
    [5, [], {}, {"epoch": "../../x", "sha256": ""}, {"epoch": 1.5, "sha256": ""},
     {"epoch": 10**300, "sha256": ""}, {"epoch": -1, "sha256": None}],
)  # fmt: skip
def test_best_weights_that_a_stranger_names_do_not_count(best: object, tmp_path: Path) -> None:
    states = StateFolder(tmp_path, {})
    states.save(1, state_of(1, 1))
    sidecar = tmp_path / "state-00001.json"
    sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), "best": best}))
    assert states.load() is None
    states.save(2, state_of(2, 2))  # nor are they in its way
    assert StateFolder(tmp_path, {}, resume=True).load() is not None


# --- When -----------------------------------------------------------------------------------


class Clock:
    """Seconds as the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(saving, "time", SimpleNamespace(perf_counter=lambda: self.now))


class Slow(StateFolder):
    """Takes so many of the clock's seconds for a state."""

    def __init__(self, folder: Path, clock: Clock, seconds: float) -> None:
        super().__init__(folder, {})
        self.clock, self.seconds = clock, seconds
        self.saved: list[int] = []

    def save(self, epoch: int, state: State) -> None:
        self.clock.now += self.seconds
        self.saved.append(epoch)


@pytest.mark.parametrize(
    ("every", "seconds", "expected"),
    [
        (1, 9.0, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        (4, 9.0, [4, 8, 10]),
        (99, 0.0, [10]),
        ("auto", 0.1, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),  # of 10 s an epoch
        ("auto", 0.9, [1, 3, 4, 5, 6, 7, 8, 9, 10]),  # the last one's cost is put by
        ("auto", 3.0, [1, 9, 10]),
        ("auto", 50.0, [1, 10]),
    ],
)
def test_epochs_that_are_saved(
    every: object, seconds: float, expected: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    states = Slow(tmp_path, clock, seconds)
    with Saving(states, every) as saved:
        for epoch in range(1, 11):
            clock.now += 10.0
            saved.keep(epoch, lambda epoch=epoch: state_of(epoch, 1))
            if saved._thread is not None:
                saved._thread.join()
    assert states.saved == expected
    if every == "auto" and seconds < 5:
        assert sum(saved.seconds) <= 0.1 * 100


def test_nothing_is_captured_where_nothing_is_saved() -> None:
    captured: list[int] = []
    with Saving(None, 1) as saved:
        saved.keep(1, lambda: captured.append(1) or pytest.fail("captured"))
    assert captured == []
    assert saved.seconds[1] == 0.0


class Held(StateFolder):
    """Writes only while it may."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, {})
        self.may, self.began = threading.Event(), threading.Event()
        self.writing, self.most = 0, 0

    def save(self, epoch: int, state: State) -> None:
        self.writing += 1
        self.most = max(self.most, self.writing)
        self.began.set()
        assert self.may.wait(patience(60))
        super().save(epoch, state)
        self.writing -= 1


def test_a_state_is_of_its_epoch_s_end_whatever_changes_while_it_is_written(
    tmp_path: Path,
) -> None:
    states, weights = Held(tmp_path), torch.zeros(3)
    numbers: dict = {"history": [1], "best_epoch": 0}
    with Saving(states, 1) as saved:
        saved.keep(1, lambda: State({"model.x": weights}, numbers))
        assert states.began.wait(patience(60))
        weights += 1  # the next epoch goes on meanwhile
        numbers["history"].append(2)
        threading.Timer(0.2, states.may.set).start()
        saved.keep(2, lambda: State({"model.x": weights}, numbers))  # waits for the one before
        first = load_file(tmp_path / "state-00001.safetensors")
        assert first["model.x"].tolist() == [0.0] * 3
        assert json.loads((tmp_path / "state-00001.json").read_text())["numbers"]["history"] == [1]
    assert states.most == 1
    second = StateFolder(tmp_path, {}, resume=True).load()
    assert second is not None
    assert second.tensors["model.x"].tolist() == [1.0] * 3
    assert second.numbers["history"] == [1, 2]


def failing(folder: Path) -> StateFolder:
    """A file is in the way."""
    (folder / "file").write_text("")
    return StateFolder(folder / "file" / "below", {})


def steps_until_told(states: StateFolder) -> None:
    with Saving(states, 1) as saved:
        saved.keep(1, lambda: state_of(1, 1))
        for _ in range(1_000):
            assert saved.watched(lambda: False)() is False
            threading.Event().wait(0.01)


def test_a_write_that_failed_is_told_at_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match=r"cannot write .*state-best-00001") as caught:
        steps_until_told(failing(tmp_path))
    assert caught.value.status == 4


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_write_that_failed_ends_the_training(epochs: int, tmp_path: Path) -> None:
    recorded: list[dict] = []
    config = FAST.model_copy(update={"epochs": epochs})
    with pytest.raises(DiskError, match="cannot write"):
        fit(config, states=failing(tmp_path), on_epoch=recorded.append)
    assert len(recorded) == 1


def test_a_stopped_training_that_cannot_be_saved_says_so(tmp_path: Path) -> None:
    config = FAST.model_copy(update={"save_every": 9})
    with pytest.raises(DiskError, match="cannot write"):
        fit(config, states=failing(tmp_path), should_stop=AfterSteps(20))


def test_memory_is_used_again_and_holds_anything() -> None:
    memory = HostMemory()
    copies = memory.copy(ODD)
    same(copies, ODD)
    places = {name: tensor.data_ptr() for name, tensor in copies.items()}
    fewer = {name: tensor for name, tensor in ODD.items() if name != "large"}
    same(memory.copy(fewer), fewer)
    assert {name: t.data_ptr() for name, t in memory.copy(ODD).items()} == places
    assert not set(places.values()) & {tensor.data_ptr() for tensor in ODD.values()} - {0}
    memory.free()
    same(memory.copy(ODD), ODD)


@pytest.mark.gpu
def test_memory_of_a_gpu_s_copies_is_locked() -> None:
    odd = {name: tensor.cuda() for name, tensor in ODD.items()}
    memory = HostMemory()
    copies = memory.copy(odd)
    assert copies["large"].is_pinned()
    same(copies, ODD)
    memory.free()


# --- Trainings ------------------------------------------------------------------------------


class AfterSteps:
    """Asks to stop after so many steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


def test_stopped_in_any_epoch_the_last_finished_one_is_there(tmp_path: Path) -> None:
    whole = fit()
    steps = -(-200 // FAST.batch_size)
    for every in (1, 3, 99, "auto"):
        for finished in (1, 2, 3):
            folder = tmp_path / f"{every}-{finished}"
            config = FAST.model_copy(update={"save_every": every})
            with pytest.raises(StoppedError):
                fit(
                    config, states=StateFolder(folder, {}),
                    should_stop=AfterSteps(finished * steps + 2),
                )  # fmt: skip
            newest = max(folder.glob("state-0*.json"))
            assert newest.name == f"state-{finished:05d}.json"
            states = StateFolder(folder, {}, resume=True)
            resumed = fit(config, states=states, model=make_model())
            same(resumed.best_weights or {}, whole.best_weights or {})
            losses = [[row["loss"] for row in each.history] for each in (resumed, whole)]
            assert losses[0] == losses[1]


def test_a_state_of_the_earlier_format_goes_on(tmp_path: Path) -> None:
    whole = fit()
    states = StateFolder(tmp_path, {})
    with pytest.raises(StoppedError):
        fit(states=states, should_stop=AfterSteps(30))
    state = states.load()
    assert state is not None
    assert state.best is not None
    for path in tmp_path.iterdir():
        path.unlink()
    # All in one file: the weights always, and the best ones once more.
    repeated = {
        f"{part}.{n}": t.clone() for part in ("model", "best") for n, t in state.best.items()
    }
    tensors = repeated | state.tensors
    file = tmp_path / "state-00002.safetensors"
    save_file(tensors, file)
    sidecar = {"sha256": sha256(file), "identity": {}, "numbers": state.numbers}
    file.with_suffix(".json").write_text(json.dumps(sidecar))
    again = StateFolder(tmp_path, {}, resume=True)
    resumed = fit(states=again, model=make_model())
    same(resumed.best_weights or {}, whole.best_weights or {})
    assert [row["loss"] for row in resumed.history] == [row["loss"] for row in whole.history]


@pytest.mark.parametrize("value", ["0", "-1", "often", "1.5", "true", "null", "[1]"])
def test_save_every_is_auto_or_a_number_of_epochs(value: str, mmsa: object, demo: Demo) -> None:
    status, _, err = mmsa("-m", "suparc", "-d", "demo", "--set", f"save_every={value}")
    assert (status, err.count("\n")) == (2, 1)
    assert "save_every = " in err
    assert "expected auto or a number of epochs" in err


def test_save_every_is_no_part_of_what_a_result_is_of(mmsa: object, demo: Demo) -> None:
    run = ("-m", "suparc", "-d", "demo", "-s", 1, "--epochs", 1, "--run-dir", "run")
    assert mmsa(*run, "--set", "save_every=2")[0] == 0
    assert mmsa(*run, "--set", "save_every=1", "--resume")[0] == 0
    addresses = {
        cells.address(cells.identity(Cell("v", "suparc", "demo", 1, values), None, device="cpu"))
        for values in ({}, {"save_every": 5}, {"margin": 0.3})
    }
    assert len(addresses) == 2
