"""``mmsa_suparc.run``: data frames, a curve and a predictor of what was trained."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mmsa_suparc
from mmsa_suparc.api.live import Live
from mmsa_suparc.api.pictures import Picture
from mmsa_suparc.data.demo import Demo
from mmsa_suparc.errors import UserError
from mmsa_suparc.runs import environment
from mmsa_suparc.toolkit import patching

PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory, demo: Demo) -> mmsa_suparc.RunResult:
    return mmsa_suparc.run(
        "suparc", "demo", seeds=[1, 2], epochs=2, set={"threshold": 0.7}, device="cpu",
        out=tmp_path_factory.mktemp("runs") / "one", progress=False,
    )  # fmt: skip


def test_it_holds_what_the_run_folder_holds(result: mmsa_suparc.RunResult) -> None:
    assert result.seeds == [1, 2]
    assert list(result.metrics.columns[:2]) == ["seed", "split"]
    table = pd.read_csv(result.folder / "results.csv")
    test = result.metrics[result.metrics["split"] == "test"]
    np.testing.assert_allclose(test["MAE"], table["MAE"])
    assert list(result.history.groupby("seed")["epoch"].max()) == [2, 2]
    of_one = result.predictions[result.predictions["seed"] == 2].drop(columns="seed")
    kept = pd.read_csv(result.folder / "seed-2" / "predictions.csv")
    pd.testing.assert_frame_equal(of_one.reset_index(drop=True), kept, check_dtype=False)
    assert "threshold: 0.7" in (result.folder / "seed-1" / "config.yaml").read_text()
    assert (result.folder / "toolkit" / "normal" / "demo.csv").is_file()


def test_its_environment_says_of_what_and_where(result: mmsa_suparc.RunResult) -> None:
    found = json.loads((result.folder / "seed-1" / "environment.json").read_text())
    record = json.loads((result.folder / "records.jsonl").read_text().splitlines()[0])
    assert found["feature_file_hash"] == record["identity"]["data"]
    assert found["text_encoder_hash"] == record["identity"]["encoder"]
    assert found["device_name"] == found["processor"] != ""
    assert found["command"] == "mmsa_suparc.run('suparc', 'demo', seeds=[1, 2], …)"


def test_the_commit_is_that_of_the_sources() -> None:
    git = ["git", "-C", str(Path(mmsa_suparc.__file__).parent), "rev-parse", "HEAD"]
    done = subprocess.run(git, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not in a checkout")
    assert environment.commit().removesuffix("-dirty") == done.stdout.strip()


def test_its_summary_is_over_seeds(result: mmsa_suparc.RunResult) -> None:
    values = result.metrics.query("split == 'valid'")["MAE"]
    row = result.summary("valid").loc["MAE"]
    assert row["mean"] == pytest.approx(values.mean())
    assert row["low"] < row["mean"] < row["high"]
    assert row["better"] == "lower"


def test_it_shows_itself(result: mmsa_suparc.RunResult) -> None:
    assert repr(result).startswith("RunResult(suparc on demo, 2 seeds, test MAE ")
    page = result._repr_html_()
    assert "<table" in page
    assert "data:image/png;base64," in page
    assert result.plot()._repr_png_().startswith(PNG)


def test_it_is_read_again_and_travels(result: mmsa_suparc.RunResult) -> None:
    again = mmsa_suparc.load_run(str(result.folder))
    pd.testing.assert_frame_equal(again.metrics, result.metrics)
    sent = pickle.loads(pickle.dumps(again))
    pd.testing.assert_frame_equal(sent.predictions, result.predictions)


def test_finished_seeds_are_kept(result: mmsa_suparc.RunResult) -> None:
    options = {
        "epochs": 2, "set": {"threshold": 0.7}, "device": "cpu", "out": result.folder,
        "progress": False,
    }  # fmt: skip
    before = (result.folder / "records.jsonl").read_text()
    again = mmsa_suparc.run("suparc", "demo", seeds=[1, 2], resume=True, **options)
    pd.testing.assert_frame_equal(again.metrics, result.metrics)
    assert (result.folder / "records.jsonl").read_text() == before
    with pytest.raises(UserError, match="already holds seed 1"):
        mmsa_suparc.run("suparc", "demo", seeds=[1], **options)


def test_the_toolkit_is_left_as_it_was_found(result: mmsa_suparc.RunResult) -> None:
    assert not patching.in_force()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "supac"}, "did you mean 'suparc'"),
        ({"set": {"treshold": 1}}, "set: unknown key 'treshold'; did you mean 'threshold'"),
        ({"seeds": [1, 1]}, "each once"),
        ({"seeds": ["1"]}, "seeds: '1'; expected whole numbers"),
        ({"features": "absent.pkl"}, "no feature file at"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(
    options: dict, message: str, demo: Demo
) -> None:
    with pytest.raises(UserError, match=message):
        mmsa_suparc.run(**{"dataset": "demo", "out": "out", "progress": False, **options})
    assert not Path("out").exists()
    assert not patching.in_force()


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no finished run here"):
        mmsa_suparc.load_run(tmp_path)


def test_the_curve_grows_while_it_trains() -> None:
    drawn: list[Picture] = []
    with Live("a title", seeds=1, epochs=2, shown=False, draw=drawn.append) as live:
        live.on_seed(1)
        for epoch in (1, 2):
            live.on_epoch({"epoch": epoch, "loss": 1.0, "valid_MAE": 1 / epoch, "best": True})
    assert drawn[-1]._repr_png_().startswith(PNG)
    (line,) = [line for line in drawn[-1].axes[1].lines if line.get_marker() == "None"]
    assert list(line.get_ydata()) == [1.0, 0.5]


def _scores(predictor: mmsa_suparc.SupArcPredictor) -> list[float]:
    import torch

    torch.set_num_threads(1)
    return [predictor.predict(text="a good film").score]


@pytest.mark.slow
def test_a_predictor_is_sent_to_another_process(result: mmsa_suparc.RunResult) -> None:
    predictor = result.predictor(seed=2, precision="fp32")
    assert predictor.serving.seed == 2
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        (there,) = pool.map(_scores, [predictor])
    assert there == pytest.approx(_scores(predictor), abs=1e-5)
