"""Any run folder's model, asked about a feature file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mmsa_suparc
from mmsa_suparc.data.demo import Demo
from mmsa_suparc.errors import UserError
from mmsa_suparc.serving.any_model import ZEROED, predict_file


@pytest.fixture(scope="module", params=["lf_dnn", "self_mm"])
def run(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, demo: Demo
) -> Path:
    out = tmp_path_factory.mktemp("runs") / request.param
    mmsa_suparc.run(request.param, "demo", seeds=[1], epochs=1, out=out, progress=False)
    return out


def test_the_scores_are_those_of_the_run(run: Path, demo: Demo, mmsa: Callable) -> None:
    moved = shutil.copy(demo.features, "elsewhere.pkl")
    status, out, _ = mmsa("predict", "--run", run, "--features", moved, "--out", "o.csv")
    assert status == 0
    assert out.count("knows no masks: a modality left out is zeros") == 1
    table = pd.read_csv("o.csv").set_index("clip")
    kept = pd.read_csv(run / "seed-1" / "predictions.csv")
    expected = kept.set_index(kept["split"] + "/" + kept["id"])["prediction"]
    np.testing.assert_allclose(table.loc[expected.index, "score"], expected, atol=1e-4)
    assert (table["without_text"] - table["score"]).abs().max() > 1e-4
    assert len(table) > len(expected)  # training clips, too
    status, out, _ = mmsa("predict", "--run", run, "--features", moved, "--json", "--classes", 7)
    assert json.loads(out)[0]["warnings"] == [ZEROED.format(run.name)]
    frame = mmsa_suparc.load_run(run).predict_file(moved)
    np.testing.assert_allclose(frame["score"], table["score"], atol=1e-6)


def test_what_does_not_fit_is_one_line(run: Path, small_root: Path, mmsa: Callable) -> None:
    status, _, err = mmsa("predict", "--run", run, "--video", "x.mp4")
    assert status == 2
    assert f"a run of '{run.name}'; expected one of suparc" in err
    with pytest.raises(UserError, match="No such file"):
        predict_file(run, "absent.pkl")
