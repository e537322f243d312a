"""What a result is of: whole files, all of an encoder; what it stands on is told, not refused."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import mmsa_suparc
from mmsa_suparc.bench.cells import TRAINING_CODE
from mmsa_suparc.data import fingerprints
from mmsa_suparc.data.demo import Demo, feature_file
from mmsa_suparc.training.state import State, StateFolder


@pytest.fixture
def own(demo: Demo) -> tuple[object, ...]:
    """A run on a feature file and with an encoder that may be changed."""
    content = feature_file({"train": 600, "valid": 40, "test": 40})
    for fields in content.values():
        del fields["text"]
    Path("own.pkl").write_bytes(pickle.dumps(content, protocol=4))
    assert Path("own.pkl").stat().st_size > 3 << 20
    shutil.copytree(demo.encoder, "encoder")
    return ("-d", "custom", "--features", "own.pkl", "--text-encoder", "encoder")


def change_a_number(path: Path) -> None:
    """In place, far from both ends, and so that the file is as good as before."""
    content = pickle.loads(path.read_bytes())
    place = path.read_bytes().index(content["train"]["vision"][300, :2].tobytes())
    assert 1 << 20 < place < path.stat().st_size - (1 << 20)
    with path.open("r+b") as file:
        file.seek(place)
        (byte,) = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ 1]))


def change_a_weight(encoder: Path) -> None:
    file = encoder / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-2] ^= 1
    before = file.stat()
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_resuming_notices_other_data_and_other_weights_behind_the_same_path(
    own: tuple, mmsa: Callable
) -> None:
    run = ("-m", "suparc", *own, "-s", 1, "--epochs", 1, "--run-dir", "run")
    assert mmsa(*run)[0] == 0
    assert mmsa(*run, "--resume")[::2] == (0, "")
    kept = Path("own.pkl").read_bytes()
    change_a_number(Path("own.pkl"))
    status, _, err = mmsa(*run, "--resume")
    assert (status, "seed 1 was run with data = '" in err) == (2, True), err
    Path("own.pkl").write_bytes(kept)
    assert mmsa(*run, "--resume")[::2] == (0, "")
    change_a_weight(Path("encoder"))
    status, _, err = mmsa(*run, "--resume")
    assert (status, "seed 1 was run with encoder = '" in err) == (2, True), err
    assert mmsa("predict", "--run", "run", "--features", "own.pkl")[0] == 0


def test_modalities_from_another_file_are_part_of_the_run(own: tuple, mmsa: Callable) -> None:
    run = ("-m", "lf_dnn", *own[:4], "-s", 1, "--epochs", 1, "--run-dir", "run")
    shutil.copy("own.pkl", "other.pkl")
    with_states = ("--text-encoder", "encoder")
    assert mmsa(*run, *with_states, "-Fa", "other.pkl")[0] == 0
    assert mmsa(*run, *with_states, "-Fa", "other.pkl", "--resume")[0] == 0
    change_a_number(Path("other.pkl"))
    status, _, err = mmsa(*run, *with_states, "-Fa", "other.pkl", "--resume")
    assert (status, "feature_A = '" in err) == (2, True), err


def test_a_benchmark_gives_them_cells_of_their_own(
    own: tuple, mmsa: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = {"title": "T", "data_sets": ["custom"], "seeds": [1], "variants": {"suparc": {}}}
    Path("bench.yaml").write_text(yaml.safe_dump(file))
    plan = ("bench", "bench.yaml", *own[2:], "--out", "out", "--dry-run")

    def address() -> str:
        status, out, err = mmsa(*plan)
        assert status == 0, err
        return str(out.split()[0])

    found = [address(), address()]
    assert found[0] == found[1]
    change_a_number(Path("own.pkl"))
    found.append(address())
    change_a_weight(Path("encoder"))
    found.append(address())
    newer = tmp_path / "site" / "transformers-99.9.dist-info"
    newer.mkdir(parents=True)
    (newer / "METADATA").write_text("Metadata-Version: 2.1\nName: transformers\nVersion: 99.9\n")
    monkeypatch.syspath_prepend(newer.parent)
    found.append(address())
    assert len(set(found)) == 4


def test_what_a_run_stands_on_is_told_and_an_older_record_is_refused(
    mmsa: Callable, demo: Demo
) -> None:
    run = ("-m", "lf_dnn", "-d", "demo", "-s", 1, "--epochs", 1, "--run-dir", "run")
    assert mmsa(*run)[0] == 0
    records = Path("run/records.jsonl")
    record = json.loads(records.read_text())
    assert {
        f"environment.{name}" for name in ("torch", "transformers", "toolkit", "device")
    } <= set(record["identity"])
    record["identity"]["environment.torch"] = "1.0"
    record["identity"]["environment.device"] = "abacus"
    records.write_text(json.dumps(record) + "\n")
    status, _, err = mmsa(*run, "--resume")
    assert status == 0
    assert err.startswith("mmsa: run: seeds that are kept are of torch 1.0 (now ")
    assert "device abacus (now " in err
    assert err.count("\n") == 1
    del record["identity"]["encoder"]
    records.write_text(json.dumps(record) + "\n")
    status, _, err = mmsa(*run, "--resume")
    assert (status, "by an older version" in err, err.count("\n")) == (2, True, 1)


def test_a_saved_state_of_another_version_goes_on_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    import torch

    identity = {"seed": 1, "environment.torch": "1.0"}
    StateFolder(tmp_path, identity).save(1, State({"x": torch.ones(2)}, {"epoch": 1}))
    now = {**identity, "environment.torch": "2.0"}
    assert StateFolder(tmp_path, now, resume=True).load() is not None
    assert "its saved state is of torch 1.0 (now 2.0)" in capsys.readouterr().err


def test_a_large_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMSA_SUPARC_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "large"
    path.write_bytes(bytes(3 << 20))
    first = fingerprints.of_file(path)
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(1 << 20)
        file.write(b"1")
    changed = fingerprints.of_file(path)
    assert changed != first
    # Of the same size, time and inode it is what it was: it has not been read.
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    at_that_time = fingerprints.of_file(path)
    assert at_that_time == changed
    with path.open("r+b") as file:
        file.write(b"1")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert fingerprints.of_file(path) == at_that_time
    assert len(list((tmp_path / "cache" / "fingerprints").iterdir())) == 1
    # What was kept and then cut is not believed.
    (kept,) = (tmp_path / "cache" / "fingerprints").iterdir()
    kept.write_text(kept.read_text()[:-5])
    assert fingerprints.of_file(path) not in (first, changed)


def test_the_code_of_a_cell_is_what_trains(demo: Demo) -> None:
    package = Path(mmsa_suparc.__file__).parent
    assert all((package / name).exists() for name in TRAINING_CODE)
    assert {"losses", "model", "data", "training", "toolkit", "runs"} <= set(TRAINING_CODE)
    assert not {"videos", "serving", "cli", "analysis", "bench"} & set(TRAINING_CODE)
