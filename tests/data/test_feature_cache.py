"""The cache of features: once written, training reads it and nothing else."""

from __future__ import annotations

import hashlib
import os
import pickle
import signal
import stat
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmsa_suparc.data import feature_cache, reader, safe_pickle, schema
from mmsa_suparc.data.demo import Demo, feature_file, make_demo
from mmsa_suparc.data.files import write_text
from tests.helpers.patience import patience


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMSA_SUPARC_CACHE", str(tmp_path / "cache"))


def write(path: Path, content: dict) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=4))
    return path


def odd_file() -> dict:
    """Everything that a file may hold and the cache does not keep as it is."""
    content = feature_file({"train": 12, "valid": 4, "test": 5})
    for fields in content.values():
        fields["audio"] = np.asfortranarray(fields["audio"].astype(np.float64))
        fields["audio"][1, 2] = -np.inf
        fields["vision"] = fields["vision"].astype(">f4")
        fields["regression_labels"] = fields["regression_labels"].tolist()
        fields["id"] = [f"好{name}" for name in fields["id"]]
        fields["note"] = None
        fields["counts"] = [1, np.int64(2)]
    return content


def test_what_comes_out_is_what_the_toolkit_would_read(tmp_path: Path) -> None:
    path = write(tmp_path / "odd.pkl", odd_file())
    first = reader.read_to_train(path)
    path_again = reader.read_to_train(path)
    for content in (first, path_again):
        for split, fields in odd_file().items():
            for name in ("text", "audio", "vision"):
                array = content[split][name]
                assert isinstance(array, np.memmap)
                assert array.dtype == np.float32
                expected = fields[name].astype(np.float32)  # as MMDataset does
                expected[expected == -np.inf] = 0
                np.testing.assert_array_equal(array, expected)
            np.testing.assert_array_equal(content[split]["text_bert"], fields["text_bert"])
            np.testing.assert_array_equal(
                content[split]["regression_labels"], fields["regression_labels"]
            )
            assert list(content[split]["id"]) == fields["id"]
            assert content[split]["note"] is None
            assert content[split]["counts"] == [1, 2]


def test_a_second_start_unpickles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "file.pkl", odd_file())
    reader.read_to_train(path)
    monkeypatch.setattr(safe_pickle, "load", lambda path: pytest.fail("unpickled"))
    content = reader.read(path)
    assert schema.check(content, schema.Rules()) == []
    # A file that has changed is another file.
    write(path, feature_file({"train": 3, "valid": 2, "test": 2}))
    with pytest.raises(pytest.fail.Exception):
        reader.read(path)


def test_the_check_reads_features_in_the_cache_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "file.pkl", feature_file({"train": 9, "valid": 4, "test": 5}))
    content = reader.read_to_train(path)
    asked: list[str] = []
    real = schema._not_finite
    monkeypatch.setattr(schema, "_not_finite", lambda n, a: asked.append(n) or real(n, a))
    schema.check(content, schema.Rules())
    assert not set(asked) & {"audio", "vision", "text"}


def test_after_a_failed_run_files_are_still_cached(tmp_path: Path) -> None:
    path = write(tmp_path / "file.pkl", odd_file())
    with pytest.raises(ZeroDivisionError), reader.reading_once():
        raise ZeroDivisionError
    reader.read_to_train(path)
    assert len(feature_cache.entries()) == 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_file_with_numbers_that_are_none_is_not_kept(value: float, tmp_path: Path) -> None:
    content = feature_file({"train": 9, "valid": 4, "test": 5})
    content["test"]["vision"][1, 0, 0] = value
    path = write(tmp_path / "file.pkl", content)
    assert not np.isfinite(reader.read_to_train(path)["test"]["vision"]).all()
    assert feature_cache.entries() == []
    assert list((tmp_path / "cache" / "features").iterdir()) == []


def test_a_cut_entry_is_written_again_and_a_flipped_bit_is_found(
    tmp_path: Path, mmsa: Callable
) -> None:
    path = write(tmp_path / "file.pkl", odd_file())
    whole = reader.read_to_train(path)
    array = Path(whole["train"]["audio"].filename)
    assert mmsa("data", "cache", "--verify")[0] == 0
    content = bytearray(array.read_bytes())
    content[-5] ^= 1
    array.write_bytes(content)
    status, _, err = mmsa("data", "cache", "--verify")
    assert status == 2
    assert str(array) in err
    array.write_bytes(content[:-100])
    assert feature_cache.lookup(path) is None
    again = reader.read_to_train(path)
    expected = odd_file()["valid"]["vision"].astype(np.float32)
    np.testing.assert_array_equal(again["valid"]["vision"], expected)
    assert mmsa("data", "cache", "--verify")[0] == 0


def test_listing_and_clearing(tmp_path: Path, mmsa: Callable) -> None:
    path = write(tmp_path / "file.pkl", odd_file())
    reader.read_to_train(path)
    left = tmp_path / "cache" / "features" / ".new.killed"
    left.mkdir()
    (left / "train-1.npy").write_bytes(b"x" * 1000)
    assert str(path) in mmsa("data", "cache", "--list")[1]
    assert "freed" in mmsa("data", "cache", "--clear")[1]
    assert list((tmp_path / "cache" / "features").iterdir()) == []
    assert mmsa("data", "cache", "--list") == (0, "", "")


def store_at_once(files: list[Path], barrier: Any, said: Any) -> None:
    contents = [schema.normalised(safe_pickle.load(path)) for path in files]
    for path, content in zip(files, contents, strict=True):
        barrier.wait()
        try:
            stored = feature_cache.store(path, content)
            folder = Path(stored["train"]["audio"].filename).parent
            said.put((path.name, folder.stat().st_ino))
        except Exception as error:
            said.put((path.name, repr(error)))


def test_four_processes_make_each_entry_once(tmp_path: Path) -> None:
    content = feature_file({"train": 200, "valid": 40, "test": 50})
    files = [write(tmp_path / f"{number}.pkl", content) for number in range(6)]
    context = get_context("fork")
    barrier, said = context.Barrier(4), context.Queue()
    workers = [context.Process(target=store_at_once, args=(files, barrier, said)) for _ in range(4)]
    for worker in workers:
        worker.start()
    found = [said.get(timeout=patience(60)) for _ in range(4 * len(files))]
    for worker in workers:
        worker.join(timeout=patience(10))
    assert [each for each in found if not isinstance(each[1], int)] == []
    assert len(set(found)) == len(files)  # whoever came later read what was there
    assert len(feature_cache.entries()) == len(files)
    assert list((tmp_path / "cache" / "features").glob(".*")) == []


def store_until(path: Path, signs: Path, *, die: bool) -> None:
    """Store a file; half way write ``half``, then die, or wait for ``go``."""
    asked = []

    def half_way() -> bool:
        asked.append(True)
        if len(asked) == 5:
            write_text(signs / "half", "")
            if die:
                os.kill(os.getpid(), signal.SIGKILL)
            while not (signs / "go").exists():
                time.sleep(0.02)
        return False

    feature_cache.store(path, schema.normalised(safe_pickle.load(path)), cancelled=half_way)


def start_storing(path: Path, *, die: bool) -> Any:
    """A process that is half way."""
    signs = path.parent / f"{path.stem}-signs"
    signs.mkdir()
    process = get_context("fork").Process(
        target=store_until, args=(path, signs), kwargs={"die": die}
    )
    process.start()
    until = time.monotonic() + patience(30)
    while not (signs / "half").exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    return process


def test_what_a_killed_process_left_is_named_and_removed(tmp_path: Path, mmsa: Callable) -> None:
    content = feature_file({"train": 200, "valid": 40, "test": 50})
    alive, dead = (write(tmp_path / name, content) for name in ("alive.pkl", "dead.pkl"))
    features = tmp_path / "cache" / "features"
    working = start_storing(alive, die=False)
    try:
        killed = start_storing(dead, die=True)
        killed.join(timeout=patience(10))
        assert killed.exitcode == -signal.SIGKILL
        assert len(list(features.iterdir())) == 2
        status, out, err = mmsa("data", "cache", "--list")
        assert (status, err) == (0, "")
        assert out.count("(removed: left by a killed process)") == 1
        assert out.count("(being made)") == 1
        assert len(list(features.iterdir())) == 1
        # Nor does clearing take away what somebody is at.
        assert mmsa("data", "cache", "--clear")[0] == 0
        (tmp_path / "alive-signs" / "go").touch()
        working.join(timeout=patience(30))
        assert working.exitcode == 0
    finally:
        working.kill()
    assert [entry.source for entry in feature_cache.entries()] == [str(alive)]
    assert mmsa("data", "cache", "--verify")[0] == 0


def test_the_next_store_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    content = feature_file({"train": 60, "valid": 10, "test": 10})
    dead, other = (write(tmp_path / name, content) for name in ("dead.pkl", "other.pkl"))
    start_storing(dead, die=True).join(timeout=patience(10))
    assert list((tmp_path / "cache" / "features").glob(".new.*"))
    reader.read_to_train(other)
    assert list((tmp_path / "cache" / "features").glob(".new.*")) == []
    assert len(feature_cache.entries()) == 1


@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077])
def test_who_may_read_the_cache_is_what_the_umask_says(mask: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        demo = make_demo()
        reader.read_to_train(demo.features)
        write_text(tmp_path / "cache" / "text.txt", "")
    finally:
        os.umask(before)
    paths = [path for path in (tmp_path / "cache").rglob("*") if path.suffix != ".lock"]
    assert len(paths) > 10
    for path in paths:
        ordinary = (0o777 if path.is_dir() else 0o666) & ~mask
        assert stat.S_IMODE(path.stat().st_mode) == ordinary, path


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser can write everywhere")
def test_without_a_cache_the_run_goes_on(tmp_path: Path) -> None:
    (tmp_path / "cache" / "features").mkdir(parents=True)
    (tmp_path / "cache" / "features").chmod(0o500)
    path = write(tmp_path / "file.pkl", odd_file())
    assert np.isfinite(reader.read_to_train(path)["train"]["audio"]).all()


def test_a_full_disk_leaves_no_half_entry_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array_header_1_0", full)
    path = write(tmp_path / "file.pkl", odd_file())
    content = reader.read_to_train(path)
    assert np.isfinite(content["train"]["audio"]).all()
    assert "No space left on device; going on without a cache" in capsys.readouterr().err
    assert list((tmp_path / "cache" / "features").iterdir()) == []


def test_the_first_run_and_the_next_are_the_same_bit_for_bit(demo: Demo, mmsa: Callable) -> None:
    """The first trains from the feature file itself, the second from the cache."""
    for folder in ("first", "second"):
        arguments = ("-m", "suparc", "-d", "demo", "-s", 1, "--epochs", 1, "--run-dir", folder)
        status, _, err = mmsa(*arguments, "--text-encoder", demo.encoder)
        assert (status, err) == (0, "")
        assert len(feature_cache.entries()) == 1
    weights = [Path(folder, "seed-1/model.safetensors") for folder in ("first", "second")]
    assert len({hashlib.sha256(path.read_bytes()).hexdigest() for path in weights}) == 1


def test_batches_of_stored_half_precision_are_float32(registered: None, tmp_path: Path) -> None:
    from mmsa_suparc.data.batches import Clips

    half = torch.ones(3, 4, 2, dtype=torch.float16)
    clips = Clips(
        torch.ones(3, 3, 5).long(), half, half, torch.tensor([4, 2, 0]), torch.tensor([1, 1, 1]),
        torch.zeros(3), torch.arange(3),
    )  # fmt: skip
    assert clips.take(torch.tensor([1])).audio.dtype == torch.float32
