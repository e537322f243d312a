"""Each of the toolkit's models trains for one epoch through the command, on a small file."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mmsa_suparc
from mmsa_suparc import cli
from mmsa_suparc.data.demo import Demo, feature_file
from mmsa_suparc.toolkit import catalogue, installed, settings
from tests.helpers.advice import beside_advice

MOSI_MODELS = sorted(
    name for name in installed.model_names() if "mosi" in installed.datasets_of(name)
)
MUST_RUN = {
    "tfn", "lmf", "lf_dnn", "ef_lstm", "mfn", "graph_mfn", "mfm", "self_mm", "mult", "mmim",
    "tfr_net", "misa", "bert_mag", "mctn",
}  # fmt: skip


def test_the_models_that_must_run_are_known() -> None:
    assert set(MOSI_MODELS) >= MUST_RUN


@pytest.mark.parametrize("model", [*MOSI_MODELS, "suparc"])
def test_one_epoch(model: str, mmsa: Callable, small_root: Path, demo: Demo) -> None:
    """In batches of ten, of 21, 11 and 11 clips: the last one of each split would have one clip."""
    status, _, err = mmsa(
        "-m", model, "-d", "mosi", "--data-root", small_root, "--text-encoder", demo.encoder,
        "-s", 7, "--epochs", 1, "--run-dir", "run", "-g", -1, "--set", "batch_size=10",
    )  # fmt: skip
    why_not = {e.name: e.why_not for e in catalogue.models("mosi")}[model]
    if why_not and model not in MUST_RUN:
        assert status == 2
        assert why_not in err
        assert not Path("run").exists()
        return
    assert (status, beside_advice(err)) == (0, "")
    seed = Path("run/seed-7")
    history = pd.read_csv(seed / "history.csv")
    assert history["epoch"].tolist() == [1]
    assert history["peak_process_mib"].between(50, 100_000).all()
    predictions = pd.read_csv(seed / "predictions.csv")
    assert predictions.groupby("split").size().to_dict() == {"test": 11, "valid": 11}
    measured = json.loads((seed / "metrics.json").read_text())
    for split in ("valid", "test"):
        part = predictions[predictions["split"] == split]
        error = np.abs(part["prediction"] - part["label"]).mean()
        assert measured[split]["MAE"] == pytest.approx(error, abs=1e-4)
        if model not in ("misa", "mctn"):  # a squared error; translations too
            assert measured[split]["Loss"] == pytest.approx(error, abs=1e-4)
    row = pd.read_csv("run/results.csv").iloc[0]
    assert row["MAE"] == measured["test"]["MAE"]


def test_mctn_trains_on_sequences_of_other_lengths_than_the_text(
    mmsa: Callable, demo: Demo
) -> None:
    content = feature_file({"train": 12, "valid": 6, "test": 6})
    for fields in content.values():
        fields["audio"] = fields["audio"][:, :30]
        fields["audio_lengths"] = fields["audio_lengths"].clip(max=30)
    Path("own.pkl").write_bytes(pickle.dumps(content))
    status, _, err = mmsa(
        "-m", "mctn", "-d", "custom", "--features", "own.pkl", "--text-encoder", demo.encoder,
        "-s", 1, "--epochs", 1, "--run-dir", "run", "--set", "batch_size=6",
    )  # fmt: skip
    assert (status, beside_advice(err)) == (0, "")
    status, _, err = mmsa("predict", "--run", "run", "--video", "x.mp4")
    assert status == 2
    assert "the score of a clip depends on those beside it; expected a feature file" in err


def test_misa_takes_no_step_of_one_clip(mmsa: Callable, small_root: Path, demo: Demo) -> None:
    """It steps after two batches: of 20 clips and of one, whose moments have no gradient."""
    status, _, err = mmsa(
        "-m", "misa", "-d", "mosi", "--data-root", small_root, "--text-encoder", demo.encoder,
        "-s", 1, "--epochs", 1, "--run-dir", "run", "--set", "batch_size=20", "--set",
        "update_epochs=2",
    )  # fmt: skip
    assert (status, beside_advice(err)) == (0, "")


@pytest.fixture(scope="module")
def lone_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root whose file has one clip in each split."""
    path = tmp_path_factory.mktemp("lone") / "MOSI" / "Processed" / "unaligned_50.pkl"
    path.parent.mkdir(parents=True)
    path.write_bytes(pickle.dumps(feature_file({"train": 1, "valid": 1, "test": 1})))
    return path.parents[2]


def test_one_clip_in_all_is_refused_by_name_where_a_model_cannot(
    mmsa: Callable, lone_clip: Path, small_root: Path, demo: Demo
) -> None:
    arguments = ("-d", "mosi", "--text-encoder", demo.encoder, "-s", 1, "--epochs", 1)
    for model, root, size in (
        ("lf_dnn", small_root, 1), ("tfn", lone_clip, 16), ("mmim", lone_clip, 16),
    ):  # fmt: skip
        status, _, err = mmsa(
            "-m", model, *arguments, "--data-root", root, "--run-dir", model, "--set",
            f"batch_size={size}",
        )  # fmt: skip
        assert status == 2
        assert f"-m {model}: cannot train on batches of one clip" in err
        assert len(err.splitlines()) == 1
        assert not Path(model, "records.jsonl").exists()
    for model in ("mult", "suparc"):
        arguments_ = ("-m", model, *arguments, "--data-root", lone_clip, "--run-dir", model)
        status, _, err = mmsa(*arguments_)
        assert (status, beside_advice(err)) == (0, "")


def test_a_file_with_text_features_needs_no_encoder(
    mmsa: Callable, demo: Demo, tmp_path: Path
) -> None:
    """Offline, with the default encoder out of reach, a baseline uses what the file holds."""
    for name in ("aligned_50.pkl", "unaligned_50.pkl"):
        path = tmp_path / "MOSI" / "Processed" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(demo.features)
    arguments = ("-d", "mosi", "--data-root", tmp_path, "-s", 1, "--epochs", 1, "--run-dir")
    for model in ("lf_dnn", "mfn"):
        status, _, err = mmsa("-m", model, *arguments, model)
        assert (status, beside_advice(err)) == (0, "")
    status, _, err = mmsa("-m", "self_mm", *arguments, "self_mm")
    assert status == 2
    assert "--text-encoder" in err
    status, _, err = mmsa("-m", "lf_dnn", *arguments, "other", "--text-encoder", "no-such")
    assert status == 2
    assert not Path("other").exists()


def test_catalogue_gives_reasons() -> None:
    mmsa_suparc.register()
    try:
        entries = {entry.name: entry for entry in catalogue.models("mosi")}
    finally:
        mmsa_suparc.unregister()
    assert set(entries) == set(settings.model_names())
    assert all(entries[name].why_not is None for name in MUST_RUN | {"suparc"})
    assert entries["mctn"].datasets == ("mosi", "demo", "custom")
    for name in ("mlf_dnn", "mtfn", "mlmf"):
        assert "sims only" in str(entries[name].why_not)


def test_the_same_seed_gives_the_same_run_whatever_ran_before(
    mmsa: Callable, small_root: Path, demo: Demo
) -> None:
    tables = []
    for name, before in (("first", None), ("second", "tfn")):
        for model in filter(None, (before, "lf_dnn", "suparc")):
            status, _, err = mmsa(
                "-m", model, "-d", "mosi", "--data-root", small_root, "--text-encoder",
                demo.encoder, "-s", 3, "--epochs", 2, "--run-dir", f"{name}/{model}",
            )  # fmt: skip
            assert (status, beside_advice(err)) == (0, "")
        tables.append(
            [Path(f"{name}/{m}/seed-3/predictions.csv").read_text() for m in ("lf_dnn", "suparc")]
        )
    assert tables[0] == tables[1]


@pytest.fixture(scope="module")
def chinese(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small data of CH-SIMS's format and their encoder, made by the command."""
    folder = tmp_path_factory.mktemp("sims")
    arguments = ["data", "make-demo", "--shape", "sims", "--out", str(folder), "--clips", "24",
                 "12", "12", "--audio-frames", "20", "--vision-frames", "20"]  # fmt: skip
    assert cli.main(arguments) == 0
    return folder


@pytest.mark.parametrize(
    "model",
    ["mlf_dnn", "mlmf", "lf_dnn", "lmf", "self_mm", "suparc",
     *(pytest.param(name, marks=pytest.mark.slow) for name in ("tfn", "mtfn"))],  # the longest
)  # fmt: skip
def test_the_models_of_ch_sims_train_on_chinese_clips(
    model: str, mmsa: Callable, chinese: Path
) -> None:
    """Those that need unimodal labels, the same without, and two more."""
    status, _, err = mmsa(
        "-m", model, "-d", "sims", "--data-root", chinese, "--text-encoder", chinese / "encoder",
        "-s", 7, "--epochs", 2, "--run-dir", "run", "--set", "batch_size=8",
    )  # fmt: skip
    assert (status, beside_advice(err)) == (0, "")
    history = pd.read_csv("run/seed-7/history.csv")
    assert history["epoch"].tolist() == [1, 2]
    assert history["valid_Loss"].notna().all()
    metrics = json.loads(Path("run/seed-7/metrics.json").read_text())
    assert {"Mult_acc_3", "Mult_acc_5"} <= set(metrics["test"])


def test_simsv2_goes_wherever_sims_goes(mmsa: Callable, chinese: Path, tmp_path: Path) -> None:
    """Also with a release of the toolkit that does not know it."""
    path = tmp_path / "root" / "SIMSv2" / "Processed" / "sims_unaligned.pkl"
    path.parent.mkdir(parents=True)
    path.symlink_to(chinese / "SIMS" / "Processed" / "unaligned_39.pkl")
    for model in ("mlf_dnn", "suparc"):
        status, _, err = mmsa(
            "-m", model, "-d", "simsv2", "--data-root", tmp_path / "root", "--text-encoder",
            chinese / "encoder", "-s", 1, "--epochs", 1, "--run-dir", model,
        )  # fmt: skip
        assert (status, beside_advice(err)) == (0, "")
        assert json.loads(Path(model, "seed-1/metrics.json").read_text())["test"]["Mult_acc_3"] >= 0
    assert mmsa("data", "check", path, "--data-set", "simsv2")[0] == 0
    entries = {entry.name: entry for entry in catalogue.models("simsv2")}
    assert all(entries[name].why_not is None for name in ("mlf_dnn", "mtfn", "mlmf", "lf_dnn"))
    assert "for sims" in str({e.name: e for e in catalogue.models("demo")}["mlmf"].why_not)
