"""The run folder: what it holds, and what happens when things go wrong."""

from __future__ import annotations

import ast
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

from mmsa_suparc.data.demo import Demo
from mmsa_suparc.runs import tracking
from tests.helpers.command import Command, mmsa_in_a_process

DEMO = ("-m", "suparc", "-d", "demo", "--epochs", "2")


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory, demo: Demo) -> Path:
    """Two seeds of SupArc on the embedded data set, by the command."""
    from mmsa_suparc import unregister
    from mmsa_suparc.cli import main

    folder = tmp_path_factory.mktemp("runs") / "two-seeds"
    status = main(
        [
            *DEMO, "-s", "1", "-s", "2", "--run-dir", str(folder),
            "--res-save-dir", str(folder.parent / "res"),
            "--model-save-dir", str(folder.parent / "models"),
            "--log-dir", str(folder.parent / "logs"),
        ]
    )  # fmt: skip
    unregister()
    assert status == 0
    return folder


def test_the_contract(run_folder: Path) -> None:
    files = {p.name for p in (run_folder / "seed-1").iterdir()}
    assert files == {
        "config.yaml", "metrics.json", "history.csv", "predictions.csv", "model.safetensors",
        "model.json", "environment.json", "run.log",
    }  # fmt: skip
    assert (run_folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    results = pd.read_csv(run_folder / "results.csv")
    assert results.columns[:3].tolist() == ["model", "dataset", "seed"]
    assert results["seed"].tolist() == [1, 2]
    assert {"MAE", "Corr", "Has0_acc_2", "Non0_F1_score", "Mult_acc_7"} <= set(results.columns)
    assert results["Corr"].between(-1, 1).all()


def test_predictions_and_metrics_agree(run_folder: Path) -> None:
    for seed in (1, 2):
        folder = run_folder / f"seed-{seed}"
        predictions = pd.read_csv(folder / "predictions.csv")
        assert predictions.columns.tolist() == ["split", "id", "label", "prediction"]
        assert predictions.groupby("split").size().to_dict() == {"test": 300, "valid": 200}
        assert predictions["id"].is_unique
        measured = json.loads((folder / "metrics.json").read_text())
        for split, part in predictions.groupby("split"):
            error = (part["prediction"] - part["label"]).abs().mean()
            assert measured[split]["Loss"] == pytest.approx(error, abs=1e-6)
            assert measured[split]["MAE"] == pytest.approx(error, abs=1e-4)
            corr = np.corrcoef(part["prediction"], part["label"])[0, 1]
            assert measured[split]["Corr"] == pytest.approx(corr, abs=1e-4)


def test_metrics_say_what_the_losses_did(run_folder: Path) -> None:
    for seed in (1, 2):
        measured = json.loads((run_folder / f"seed-{seed}" / "metrics.json").read_text())
        found = measured["diagnostics"]
        assert 0 < found["pairs"]["positives"] < 0.5
        assert found["pairs"]["positives"] + found["pairs"]["negatives"] == pytest.approx(1)
        assert 0 < found["pairs"]["margin_mean"] < found["pairs"]["margin_largest"] <= 0.6
        assert 0 <= found["pairs"]["saturated"] <= 1
        assert set(found["norms"]) == {"mae", "suparc", "triplet", "masked"}
        assert -1 <= found["cosines"]["mae, suparc"] <= 1
        assert all("margin" not in line for line in found["warnings"])
    records = (run_folder / "records.jsonl").read_text().splitlines()
    assert all(set(json.loads(line)["metrics"]) == {"valid", "test"} for line in records)


def test_a_margin_that_does_nothing_is_named_at_the_end_of_a_run(
    mmsa: Callable, demo: Demo
) -> None:
    mosi = ("--set", "margin_on=positives", "--set", "margin_sign=add")
    status, _, err = mmsa(*DEMO, "-s", 1, *mosi, "--run-dir", "run")
    assert status == 0
    (line,) = [one for one in err.splitlines() if "margin" in one]
    assert line.startswith("mmsa: seed 1: the margin does nothing: 0.0")
    measured = json.loads(Path("run/seed-1/metrics.json").read_text())
    assert any("margin" in one for one in measured["diagnostics"]["warnings"])


def test_history_has_every_loss_term_and_the_times(run_folder: Path) -> None:
    history = pd.read_csv(run_folder / "seed-1" / "history.csv")
    assert history["epoch"].tolist() == [1, 2]
    weights = yaml.safe_load((run_folder / "seed-1" / "config.yaml").read_text())
    total = history["loss_mae"] + sum(
        weights[f"weight_{term}"] * history[f"loss_{term}"]
        for term in ("suparc", "triplet", "masked")
        if weights[f"weight_{term}"]
    )
    np.testing.assert_allclose(history["loss"], total, rtol=1e-5)
    assert {"valid_MAE", "valid_Corr", "valid_Loss"} <= set(history.columns)
    assert (history[["train_seconds", "valid_seconds"]] > 0).all(axis=None)
    assert history["peak_process_mib"].between(50, 100_000).all()
    assert "peak_gpu_mib" not in history  # of a CPU


def test_a_record_says_how_many_parameters_were_trained(run_folder: Path) -> None:
    record = json.loads((run_folder / "records.jsonl").read_text().splitlines()[0])
    shapes = json.loads((run_folder / "seed-1" / "model.json").read_text())["shapes"]
    of_text = sum(np.prod(s) for name, s in shapes.items() if "text_encoder" in name)
    assert of_text < record["parameters"] <= sum(np.prod(shape) for shape in shapes.values())


def test_weights_give_the_predictions(run_folder: Path, demo: Demo) -> None:
    import mmsa_suparc
    from mmsa_suparc.runs.trainer import SupArcTrainer
    from mmsa_suparc.toolkit import modules, settings

    mmsa_suparc.register()
    args = modules.module("run").get_config_regression("suparc", "demo")
    args.update(custom_feature=None, feature_T="", feature_A="", feature_V="", device="cpu")
    loaders = modules.module("run").MMDataLoader(args, 0)
    model = modules.module("models").AMIO(args)
    model.load_state_dict(load_file(run_folder / "seed-1" / "model.safetensors"))
    prediction = SupArcTrainer(args).predict(model, loaders["test"])
    mmsa_suparc.unregister()
    assert settings.treated_as("demo") == "mosi"
    stored = pd.read_csv(run_folder / "seed-1" / "predictions.csv")
    expected = stored[stored["split"] == "test"]["prediction"].to_numpy()
    np.testing.assert_allclose(prediction.numpy(), expected, atol=1e-5)


def test_configuration_written_is_one_that_c_takes(run_folder: Path, mmsa: Callable) -> None:
    config = run_folder / "seed-1" / "config.yaml"
    content = yaml.safe_load(config.read_text())
    assert (content["model_name"], content["dataset_name"], content["seed"]) == (
        "suparc", "demo", 1,
    )  # fmt: skip
    status, _, err = mmsa("-m", "suparc", "-d", "demo", "-c", config, "-s", 1, "--run-dir", "again")
    assert (status, err) == (0, "")
    for name in ("predictions.csv", "config.yaml"):
        again, first = (Path("again/seed-1") / name).read_text(), run_folder / "seed-1" / name
        assert again == first.read_text()


def test_the_toolkits_own_outputs(run_folder: Path) -> None:
    table = pd.read_csv(run_folder.parent / "res" / "normal" / "demo.csv")
    results = pd.read_csv(run_folder / "results.csv")
    mean, deviation = ast.literal_eval(table["MAE"][0])
    assert mean == pytest.approx(results["MAE"].mean() * 100, abs=0.01)
    assert deviation == pytest.approx(results["MAE"].std(ddof=0) * 100, abs=0.01)
    names = sorted(path.name for path in (run_folder.parent / "models").iterdir())
    assert names == ["suparc-demo-1.pth", "suparc-demo-2.pth"]
    state = torch.load(run_folder.parent / "models" / names[0], weights_only=True)
    assert any(name.startswith("Model.text_encoder") for name in state)
    assert "TRAIN-(suparc)" in (run_folder.parent / "logs" / "suparc-demo.log").read_text()


def test_environment_names_what_is_needed_to_repeat(run_folder: Path) -> None:
    content = json.loads((run_folder / "seed-1" / "environment.json").read_text())
    assert {"torch", "MMSA", "device", "feature_file", "repairs", "command"} <= set(content)
    assert content["repairs"]


def test_a_seed_that_is_there_is_not_overwritten(run_folder: Path, mmsa: Callable) -> None:
    before = (run_folder / "results.csv").read_bytes()
    status, _, err = mmsa(*DEMO, "-s", 2, "-s", 3, "--run-dir", run_folder)
    assert status == 2
    assert "already holds seed 2" in err
    status, _, err = mmsa("-m", "tfn", "-d", "demo", "-s", 9, "--run-dir", run_folder)
    assert status == 2
    assert "holds results of suparc on demo" in err
    assert (run_folder / "results.csv").read_bytes() == before


def test_divergence_ends_with_status_3_and_no_row(mmsa: Callable) -> None:
    status, _, err = mmsa(*DEMO, "--set", "learning_rate_other=1e30", "--run-dir", "run")
    assert status == 3
    assert "epoch 1, step" in err
    assert "not finite" in err or "the term" in err
    assert err.count("\n") == 1
    assert not Path("run/results.csv").exists()


def test_a_baseline_that_diverges_ends_with_status_3(mmsa: Callable) -> None:
    status, _, err = mmsa(
        "-m", "lf_dnn", "-d", "demo", "--epochs", 2, "--set", "learning_rate=1e30",
        "--run-dir", "run",
    )  # fmt: skip
    assert status == 3, err
    assert not Path("run/results.csv").exists()


@pytest.mark.parametrize("kib", [0, 1, 4, 64, 300])
def test_a_full_disk_ends_with_status_4(kib: int, run_folder: Path) -> None:
    """A real limit on the size of files, in a process of its own (the first run filled the
    cache)."""
    done = mmsa_in_a_process(
        "-m", "suparc", "-d", "demo", "--epochs", 1, "--run-dir", "run", largest_file=kib * 1024
    )
    assert done.returncode == 4, done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not Path("run/results.csv").exists()
    left = [p.name for p in Path().rglob(".*") if p.name != ".lock"]
    assert left == []


def test_an_unwritable_folder_ends_with_status_4(mmsa: Callable, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    status, _, err = mmsa(*DEMO, "--run-dir", tmp_path / "file" / "below")
    assert status == 4
    assert "cannot write" in err
    status, _, err = mmsa(*DEMO, "--run-dir", tmp_path / "file")
    assert status == 2
    assert "is a file" in err


def test_interrupting_keeps_finished_seeds(demo: Demo) -> None:
    seeds = [f"-s{seed}" for seed in range(1, 60)]
    run = ("-m", "suparc", "-d", "demo", "--epochs", 3, *seeds, "--run-dir", "run")
    results = Path("run/results.csv")
    with Command(*run) as process:
        while not results.is_file() and process.poll() is None:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        process.wait()
    assert process.returncode == 130
    assert process.err.splitlines()[-1].startswith("mmsa: ")
    assert "--run-dir run --resume" in process.err
    rows = pd.read_csv(results)
    assert rows["seed"].tolist() == list(range(1, len(rows) + 1))
    for seed in rows["seed"]:
        assert (Path("run") / f"seed-{seed}" / "metrics.json").is_file()


def test_custom_feature_files_replace_one_modality(
    mmsa: Callable, demo: Demo, tmp_path: Path
) -> None:
    import pickle

    content = pickle.loads(demo.features.read_bytes())
    for fields in content.values():
        fields["audio"] = fields["audio"][:, :, :3]
    (tmp_path / "narrow.pkl").write_bytes(pickle.dumps(content))
    status, _, err = mmsa(*DEMO, "-Fa", "narrow.pkl", "--run-dir", "run")
    assert (status, err) == (0, "")
    weights = load_file("run/seed-1111/model.safetensors")
    assert weights["Model.audio_encoder.ahead.0.weight_ih_l0"].shape[1] == 3
    for fields in content.values():
        fields["id"] = fields["id"][::-1]
    (tmp_path / "reversed.pkl").write_bytes(pickle.dumps(content))
    status, _, err = mmsa(*DEMO, "-Fa", "reversed.pkl", "--run-dir", "other")
    assert status == 2
    assert "-Fa reversed.pkl: train: clip 0 is '" in err
    assert "the same clips in the same order" in err
    status, _, err = mmsa(*DEMO, "-Fv", "absent.pkl", "--run-dir", "other")
    assert status == 2
    assert "-Fv absent.pkl: no such file" in err
    assert not Path("other").exists()


def test_epochs_go_to_tensorboard_where_asked(mmsa: Callable, demo: Demo) -> None:
    pytest.importorskip("tensorboardX")
    run = ("-m", "suparc", "-d", "demo", "-s", 1, "--epochs", 2, "--run-dir", "run")
    status, _, err = mmsa(*run, "--tracker", "tensorboard")
    assert (status, err) == (0, "")
    (events,) = Path("run/seed-1/tensorboard").glob("events.*")
    content = events.read_bytes()
    assert b"loss_suparc" in content
    assert content.count(b"valid_MAE") == 2


def test_a_tracker_that_is_not_installed_is_named(
    mmsa: Callable, demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "TRACKERS", {"wandb": ("no_such_package", "wandb")})
    status, _, err = mmsa("-m", "suparc", "-d", "demo", "--run-dir", "run", "--tracker", "wandb")
    assert status == 2
    assert "--tracker wandb: not installed; pip install wandb" in err
    assert not Path("run").exists()
