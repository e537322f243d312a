"""Odd but valid input: two epochs, predictions and a table, with no NaN in what counts."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mmsa_suparc.data.demo import Demo, feature_file
from tests.helpers.advice import beside_advice

HOSTILE_TEXTS = [
    "这部电影很好看 。",
    "great 🎬🔥",
    "=cmd|' /C calc'!A0",
    "<script>x</script>",
    "",
    'a\nb,"c',
]


def each(change: Callable[[dict], None]) -> Callable[[dict], None]:
    def apply(content: dict) -> None:
        for fields in content.values():
            change(fields)

    return apply


def set_field(name: str, make: Callable[[Any], Any]) -> Callable[[dict], None]:
    return each(lambda fields: fields.__setitem__(name, make(fields[name])))


def frames(count: int) -> Callable[[dict], None]:
    def change(fields: dict) -> None:
        for name in ("audio", "vision"):
            array = fields[name]
            shape = (len(array), count, array.shape[2])
            fields[name] = np.resize(array, shape).astype(np.float32)
            fields[f"{name}_lengths"] = np.full(len(array), count)

    return each(change)


def missing_clips(fields: dict) -> None:
    fields["audio_lengths"] = np.where(np.arange(len(fields["id"])) % 3 == 0, 0, 5)
    fields["vision_lengths"] = np.where(np.arange(len(fields["id"])) % 4 == 0, 0, 5)


def first(train: int, valid: int) -> Callable[[dict], None]:
    def change(content: dict) -> None:
        for split, count in (("train", train), ("valid", valid)):
            content[split] = {k: v[:count] for k, v in content[split].items()}

    return change


def as_lists(fields: dict) -> None:
    for name in ("id", "raw_text", "regression_labels", "audio_lengths", "vision_lengths"):
        fields[name] = fields[name].tolist()


def minus_infinity(fields: dict) -> None:
    fields["audio"] = fields["audio"].copy()
    fields["audio"][0, 0, 0] = -np.inf


ODD: dict[str, Callable[[dict], None]] = {
    "one frame": frames(1),
    "5,000 frames": frames(5000),
    "clips without a modality": each(missing_clips),
    "a last batch of one": first(17, 6),
    "two training clips": first(2, 6),
    "one validation clip": first(17, 1),
    "all labels equal": set_field("regression_labels", lambda a: np.full_like(a, 1.0)),
    "all labels zero": set_field("regression_labels", np.zeros_like),
    "no positive label": set_field("regression_labels", lambda a: -np.abs(a)),
    "constant modality": set_field("vision", np.ones_like),
    "all-zero modality": set_field("audio", np.zeros_like),
    "float64": set_field("audio", lambda a: a.astype(np.float64)),
    "float16": set_field("audio", lambda a: a.astype(np.float16)),
    "big-endian": set_field("vision", lambda a: a.astype(">f4")),
    "Fortran order": set_field("vision", np.asfortranarray),
    "minus infinity in audio": each(minus_infinity),
    "lists": each(as_lists),
    "hostile texts": set_field(
        "raw_text", lambda a: np.array([HOSTILE_TEXTS[i % 6] for i in range(len(a))])
    ),
    "hostile ids": set_field("id", lambda a: np.array([f'={n},"\n<b>' for n in a])),
    "labels as a column": set_field("regression_labels", lambda a: a[:, None]),
    "extra fields": each(lambda fields: fields.update(note="x", more=np.ones((3, 3)))),
}


def write(root: Path, change: Callable[[dict], None], protocol: int = 4) -> None:
    content = feature_file({"train": 34, "valid": 6, "test": 7})
    change(content)
    for name in ("unaligned_50.pkl", "aligned_50.pkl"):
        path = root / "MOSI" / "Processed" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(content, protocol))


def run(mmsa: Callable, root: Path, demo: Demo, model: str) -> pd.DataFrame:
    status, _, err = mmsa(
        "-m", model, "-d", "mosi", "--data-root", root, "--text-encoder", demo.encoder,
        "-s", 1, "--epochs", 2, "--run-dir", "run", "--set", "batch_size=16",
    )  # fmt: skip
    assert (status, beside_advice(err)) == (0, "")
    predictions = pd.read_csv("run/seed-1/predictions.csv")
    assert np.isfinite(predictions[["label", "prediction"]]).all(axis=None)
    history = pd.read_csv("run/seed-1/history.csv")
    assert np.isfinite(history.filter(regex="^loss")).all(axis=None)
    measured = json.loads(Path("run/seed-1/metrics.json").read_text())
    assert np.isfinite(measured["test"]["MAE"])
    return predictions


@pytest.mark.parametrize("name", ODD)
def test_suparc_runs(name: str, mmsa: Callable, tmp_path: Path, demo: Demo) -> None:
    write(tmp_path / "data", ODD[name])
    predictions = run(mmsa, tmp_path / "data", demo, "suparc")
    if name == "hostile ids":  # CSV cells are never formulas
        assert not predictions["id"].str.startswith(("=", "+", "-", "@")).any()


@pytest.mark.parametrize("protocol", range(2, 6))
def test_protocols(protocol: int, mmsa: Callable, tmp_path: Path, demo: Demo) -> None:
    write(tmp_path / "data", lambda content: None, protocol)
    assert len(run(mmsa, tmp_path / "data", demo, "suparc")) == 13


@pytest.mark.parametrize(
    "name", ["clips without a modality", "lists", "big-endian", "all labels zero", "float64"]
)
def test_a_baseline_runs_too(name: str, mmsa: Callable, tmp_path: Path, demo: Demo) -> None:
    write(tmp_path / "data", ODD[name])
    model = "self_mm" if name != "all labels zero" else "lf_dnn"
    assert len(run(mmsa, tmp_path / "data", demo, model)) == 13
