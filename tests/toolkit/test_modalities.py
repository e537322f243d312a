"""The toolkit's models on fewer modalities: gone in all splits, whatever a model does with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mmsa_suparc.config import Layer
from mmsa_suparc.data.demo import Demo
from mmsa_suparc.runs.trained import load_trained
from mmsa_suparc.toolkit import calls, settings


def loaders_of(model: str, kept: list[str], root: Path, demo: Demo) -> dict[str, Any]:
    values = {"modalities": kept, "pretrained": str(demo.encoder), "batch_size": 8}
    config = settings.load(model, "mosi", overrides=[Layer("test", values)], data_root=str(root))
    args = settings.run_args(config, device="cpu", checkpoint=Path("none"))
    return calls.build(args, seed=1)[0]


@pytest.mark.parametrize("model", ["lf_dnn", "self_mm", "tfr_net", "mfn"])
def test_it_is_zero_in_every_split(
    model: str, registered: None, small_root: Path, demo: Demo
) -> None:
    """Also in what a model makes of its inputs before training: TFR_NET's incomplete copies."""
    for split, loader in loaders_of(model, ["text", "vision"], small_root, demo).items():
        data = loader.dataset
        assert not np.asarray(data.audio).any(), split
        assert np.asarray(data.vision).any(), split
        assert np.asarray(data.text).any(), split
        assert not np.any(getattr(data, "audio_m", 0)), split
    for split, loader in loaders_of(model, ["audio"], small_root, demo).items():
        data = loader.dataset
        assert not np.asarray(data.vision).any(), split
        assert np.asarray(data.audio).any(), split
        if model in ("self_mm", "tfr_net"):  # tokens: an empty sentence
            assert (np.asarray(data.text)[:, 1].sum(axis=1) == 2).all(), split
            assert len(np.unique(np.asarray(data.text)[:, 0], axis=0)) == 1, split
        else:
            assert not np.asarray(data.text).any(), split


def test_a_modality_that_is_not_there_changes_nothing(
    mmsa: Callable, small_root: Path, demo: Demo, tmp_path: Path
) -> None:
    """Two files that differ in their audio alone give a model without audio the same scores."""
    import pickle

    source = small_root / "MOSI" / "Processed" / "unaligned_50.pkl"
    content = pickle.loads(source.read_bytes())
    for fields in content.values():
        fields["audio"] = fields["audio"][::-1] * 3
    other = tmp_path / "other.pkl"
    other.write_bytes(pickle.dumps(content))
    found = {}
    for name, path, kept in (
        ("one", source, "[text,vision]"), ("two", other, "[text,vision]"),
        ("whole", source, "[text,audio,vision]"),
    ):  # fmt: skip
        status, _, err = mmsa(
            "-m", "lf_dnn", "-d", "custom", "--features", path, "--text-encoder", demo.encoder,
            "-s", 1, "--epochs", 1, "--run-dir", name, "--set", f"modalities={kept}",
        )  # fmt: skip
        assert (status, err) == (0, "")
        found[name] = pd.read_csv(f"{name}/seed-1/predictions.csv")["prediction"].tolist()
    assert found["one"] == found["two"]
    assert found["one"] != found["whole"]
    trained = load_trained(Path("one"), 1)
    assert not trained.inputs("test").audio.any()


@pytest.mark.slow
def test_a_benchmark_has_it_for_any_model(mmsa: Callable, demo: Demo) -> None:
    Path("few.yaml").write_text(
        "{data_sets: [demo], seeds: [1], shared: {epochs: 1, modalities: [text]}, variants: "
        "{SupArc: {model: suparc}, LF-DNN: {model: lf_dnn}, "
        "whole: {model: lf_dnn, set: {modalities: [text, audio, vision]}}}}"
    )
    status, _, err = mmsa("bench", "few.yaml", "--out", "out", "--jobs", "1")
    assert status == 0, err
    specs = [json.loads(path.read_text()) for path in Path("out/cells").glob("*/spec.json")]
    kept = {spec["cell"]["variant"]: spec["identity"]["values"]["modalities"] for spec in specs}
    assert kept == {"SupArc": ["text"], "LF-DNN": ["text"],
                    "whole": ["text", "audio", "vision"]}  # fmt: skip


@pytest.mark.parametrize("value", ["[]", "[smell]", "[1]"])
def test_other_names_are_refused(mmsa: Callable, value: str) -> None:
    status, _, err = mmsa(
        "config", "show", "-m", "tfn", "-d", "demo", "--set", f"modalities={value}"
    )
    assert status == 2
    assert "expected one or more of text, audio, vision" in err
