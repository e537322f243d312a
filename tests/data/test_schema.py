"""Malformed feature files: all faults, a line each, before anything is written."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmsa_suparc.cli.data import summary
from mmsa_suparc.data import schema
from mmsa_suparc.data.demo import Demo, feature_file
from mmsa_suparc.names import SPLITS
from tests.helpers.advice import beside_advice


def good() -> dict[str, dict[str, Any]]:
    return feature_file({"train": 12, "valid": 6, "test": 6})


RULES = schema.Rules(score_range=(-3.0, 3.0), vocabulary=200)


def put(split: str, field: str, value: Any) -> Callable[[dict], None]:
    def change(content: dict) -> None:
        content[split][field] = value(content[split][field]) if callable(value) else value

    return change


def drop(split: str, field: str) -> Callable[[dict], None]:
    return lambda content: content[split].pop(field)


def at(index: tuple, value: Any) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        array[index] = value
        return array

    return change


MALFORMED: dict[str, tuple[Callable[[dict], None], str]] = {
    "missing field": (drop("valid", "audio"), "valid: audio: expected this field; found none"),
    "missing lengths": (drop("test", "vision_lengths"), "test: vision_lengths"),
    "no text": (
        lambda c: [c["train"].pop(k) for k in ("text", "text_bert", "raw_text")],
        "train: text: expected text_bert, text or raw_text",
    ),
    "strings for numbers": (
        put("train", "audio", np.array(["a"] * 12)),
        "train: audio: expected numbers; found <U1",
    ),
    "numbers for strings": (put("train", "id", np.arange(12)), "train: id: expected strings"),
    "rank": (
        put("train", "vision", lambda a: a[:, 0]),
        "train: vision: expected 3 axes; found shape (12, 16)",
    ),
    "too few labels": (
        put("train", "regression_labels", lambda a: a[:5]),
        "train: regression_labels: expected 12 clips; found 5",
    ),
    "too few texts": (put("test", "raw_text", []), "test: raw_text: expected 6 clips; found 0"),
    "width of the first split": (
        put("train", "vision", lambda a: a[:, :, :7]),
        "train: vision: expected 16 values a frame, as in valid; found 7",
    ),
    "no frames": (put("train", "audio", lambda a: a[:, :0]), "train: audio: expected at least one"),
    "one number for labels": (
        put("train", "regression_labels", np.array(1.0)),
        "train: regression_labels: expected 1 axis; found shape ()",
    ),
    "one string for ids": (put("train", "id", "abcdefghijkl"), "train: id: expected strings"),
    "table of ids": (
        put("train", "id", np.array([["a", "b"]] * 12)),
        "train: id: expected strings, one a clip; found <U1 of shape (12, 2)",
    ),
    "bytes for ids": (put("train", "id", np.array([b"\xff"] * 12)), "train: id: expected strings"),
    "beyond float32": (
        put("train", "audio", lambda a: at((2, 0, slice(2)), -1e300)(a.astype(np.float64))),
        "train: audio: expected numbers of at most 3.403e+38, as float32 holds; "
        "found 2 beyond, clips 2",
    ),
    "count": (put("valid", "audio", lambda a: a[:4]), "valid: audio: expected 6 clips; found 4"),
    "length beyond the end": (
        put("train", "audio_lengths", at((3,), 99)),
        "train: audio_lengths: expected whole numbers from 0 to 50; found 99 in clips 3",
    ),
    "negative length": (put("train", "audio_lengths", at((0,), -1)), "found -1 in clips 0"),
    "width across splits": (
        put("test", "vision", lambda a: a[:, :, :7]),
        "test: vision: expected 16 values a frame, as in train; found 7",
    ),
    "tokens across splits": (
        put("test", "text_bert", lambda a: a[:, :, :9]),
        "test: text_bert: expected 25 tokens, as in train; found 9",
    ),
    "NaN": (put("test", "vision", at((2, 0, 0), np.nan)), "test: vision: expected finite numbers"),
    "infinity": (put("train", "audio", at((2, 0, 0), np.inf)), "train: audio: expected finite"),
    "NaN label": (
        put("train", "regression_labels", at((5,), np.nan)),
        "train: regression_labels: expected finite numbers; found 1 others, clips 5",
    ),
    "label range": (
        put("valid", "regression_labels", at((1,), 99)),
        "valid: regression_labels: expected scores from -3 to 3 (--allow-label-range); found 99.0",
    ),
    "mask": (
        lambda c: c["train"]["text_bert"].__setitem__((0, 1, 0), 7),
        "train: text_bert: expected a mask of 0 and 1; found others in clips 0",
    ),
    "token id": (
        lambda c: c["train"]["text_bert"].__setitem__((1, 0, 1), 30_000),
        "train: text_bert: expected token ids below 200",
    ),
    "duplicate id": (
        put("train", "id", lambda a: np.array(["same"] * 2 + list(a[2:]))),
        "train: id: expected a name a clip; found 1 twice: same",
    ),
    "leak": (
        lambda c: c["test"].__setitem__("id", c["train"]["id"][:6]),
        "test: id: expected clips that are not in train (--allow-leak); found 6",
    ),
    "empty split": (
        lambda c: c.__setitem__("valid", {k: v[:0] for k, v in c["valid"].items()}),
        "valid: regression_labels: expected at least one clip; found 0",
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_each_fault_is_named_and_nothing_else_is_blamed(name: str) -> None:
    content = good()
    change, message = MALFORMED[name]
    change(content)
    faults = [str(fault) for fault in schema.check(content, RULES)]
    assert any(message in fault for fault in faults), faults
    assert len(faults) == (2 if name == "no text" else 1), faults


def test_all_faults_are_named_at_once() -> None:
    content = good()
    chosen = [
        "missing lengths",
        "length beyond the end",
        "NaN label",
        "mask",
        "width across splits",
    ]
    for name in chosen:
        MALFORMED[name][0](content)
    faults = [str(fault) for fault in schema.check(content, RULES)]
    for name in chosen:
        assert any(MALFORMED[name][1] in fault for fault in faults), name


def test_good_files_have_no_fault_and_allowances_allow() -> None:
    assert schema.check(good(), RULES) == []
    content = good()
    MALFORMED["leak"][0](content)
    MALFORMED["label range"][0](content)
    assert len(schema.check(content, RULES)) == 2
    assert schema.check(content, schema.Rules(allow_leak=True)) == []


def test_the_command_names_faults_with_status_2(mmsa: Callable, tmp_path: Path) -> None:
    content = good()
    MALFORMED["NaN"][0](content)
    MALFORMED["leak"][0](content)
    path = tmp_path / "bad.pkl"
    path.write_bytes(pickle.dumps(content))
    status, out, err = mmsa("data", "check", path, "--data-set", "mosi")
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 3
    assert f"mmsa: {path}: test: vision: expected finite numbers" in err
    assert err.splitlines()[-1] == "mmsa: 2 faults; mend the file, then check it again"
    assert mmsa("data", "check", path, "--data-set", "mossi")[0] == 2
    assert mmsa("data", "check", tmp_path / "absent.pkl")[0] == 2


def test_a_score_just_below_0_is_counted_as_0() -> None:
    content = good()
    content["train"]["regression_labels"][:] = -0.2
    (name,) = summary(content)["train"]["labels"]["rounded"]
    assert name == "0"


def test_the_command_sums_up_a_good_file(mmsa: Callable, demo: Demo) -> None:
    status, out, err = mmsa(
        "data", "check", demo.features, "--data-set", "demo", "--text-encoder", demo.encoder
    )
    assert (status, err) == (0, "")
    for expected in ("(800, 50, 12)", "no fault found", "labels", "frames a clip", "0.0%"):
        assert expected in out
    assert max(map(len, out.splitlines()[:-1])) <= 80


def test_a_run_refuses_a_malformed_file_before_writing(
    mmsa: Callable, demo: Demo, tmp_path: Path
) -> None:
    content = good()
    MALFORMED["leak"][0](content)
    path = tmp_path / "MOSI/Processed/unaligned_50.pkl"
    path.parent.mkdir(parents=True)
    path.write_bytes(pickle.dumps(content))
    arguments = (
        "-m", "suparc", "-d", "mosi", "--data-root", tmp_path, "--text-encoder", demo.encoder,
        "-s", 1, "--epochs", 1, "--run-dir", "run",
    )  # fmt: skip
    status, _, err = mmsa(*arguments)
    assert status == 2
    assert "test: id: expected clips that are not in train" in err
    assert not Path("run").exists()
    status, _, err = mmsa(*arguments, "--allow-leak")
    assert (status, beside_advice(err)) == (0, "")


def data_root(root: Path, content: object) -> Path:
    """A folder in which the toolkit finds a feature file for MOSI; returns the file."""
    path = root / "MOSI/Processed/unaligned_50.pkl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content))
    return path


BESIDE: dict[str, Any] = {
    "dict": {"made": "today"}, "splits": good()["valid"], "str": "notes", "none": None,
    "list": [1, 2], "number": 3, "array": np.zeros((2, 2)),
}  # fmt: skip


def test_what_stands_beside_the_splits_is_nobodys(
    mmsa: Callable, demo: Demo, tmp_path: Path
) -> None:
    path = data_root(tmp_path, {**good(), **BESIDE})
    status, out, err = mmsa("data", "check", path, "--data-set", "mosi")
    assert (status, err) == (0, "")
    assert not [name for name in BESIDE if name in out.split()]
    run = ("-m", "suparc", "-d", "mosi", "--data-root", tmp_path, "--text-encoder", demo.encoder,
           "-s", 1, "--epochs", 1, "-v", 0)  # fmt: skip
    assert mmsa(*run, "--run-dir", "run")[0] == 0
    status, out, err = mmsa("predict", "--run", "run", "--features", path, "--json")
    assert (status, err) == (0, "")
    assert {split: out.count(f'"{split}/') for split in SPLITS} == {
        "train": 12, "valid": 6, "test": 6,
    }  # fmt: skip
    assert "splits/" not in out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds a list; expected a dict"),
        ([good()], "(file: a list of dict; expected strings or numbers)"),
        ({**good(), "train": [1]}, "split 'train' is a list; expected a dict of its fields"),
        ({"train": {}, "valid": {}}, "no split 'test'; found train, valid"),
        ({}, "no split 'train'; found nothing"),
    ],
)
def test_a_file_of_another_form_is_told_what_it_is(
    mmsa: Callable, tmp_path: Path, content: object, message: str
) -> None:
    path = tmp_path / "odd.pkl"
    path.write_bytes(pickle.dumps(content))
    status, out, err = mmsa("data", "check", path)
    assert (status, out) == (2, "")
    assert f"feature file {path}: " in err
    assert message in err


def test_a_run_refuses_numbers_beyond_float32(mmsa: Callable, demo: Demo, tmp_path: Path) -> None:
    content = good()
    MALFORMED["beyond float32"][0](content)
    path = data_root(tmp_path, content)
    for model in ("suparc", "lf_dnn"):
        status, _, err = mmsa(
            "-m", model, "-d", "mosi", "--data-root", tmp_path, "--text-encoder", demo.encoder,
            "-s", 1, "--epochs", 1, "--run-dir", "run",
        )  # fmt: skip
        assert status == 2
        assert f"{path}: {MALFORMED['beyond float32'][1]}" in err
        assert err.endswith("1 fault; mend the file and look at it again with: mmsa data check\n")
    assert not Path("run").exists()


def test_a_fault_is_of_the_file_that_has_it(mmsa: Callable, demo: Demo, tmp_path: Path) -> None:
    data_root(tmp_path, good())
    other = tmp_path / "other.pkl"

    def told(change: Callable[[dict], None]) -> str:
        content = good()
        change(content)
        other.write_bytes(pickle.dumps(content))
        status, _, err = mmsa(
            "-m", "suparc", "-d", "mosi", "--data-root", tmp_path, "--text-encoder", demo.encoder,
            "-s", 1, "--epochs", 1, "--run-dir", "run", "-Fa", other, "-Ft", other,
        )  # fmt: skip
        assert status == 2
        assert not Path("run").exists()
        return str(err)

    wrong = told(put("valid", "audio", at((0, 0, 0), np.nan)))
    assert wrong.startswith(f"mmsa: {other}: valid: audio: expected finite numbers")
    assert "unaligned_50.pkl" not in wrong
    # A field that the other file lacks is not taken from the first one in its place.
    absent = told(drop("train", "audio_lengths"))
    assert absent.startswith(f"mmsa: {other}: train: audio_lengths: expected this field")
    unknown = told(put("train", "text_bert", at((7, 0, 2), 30_000)))
    assert unknown.startswith(f"mmsa: {other}: train: text_bert: expected token ids below 1")
    assert "found 30000 in clip 7." in unknown


@pytest.mark.real_data
def test_real_clips_have_no_fault(mmsa: Callable, real_root: Path, real_encoder: Path) -> None:
    path = real_root / "MOSI" / "Processed" / "unaligned_50.pkl"
    status, _, err = mmsa("data", "check", path, "--text-encoder", real_encoder)
    assert (status, err) == (0, "")
