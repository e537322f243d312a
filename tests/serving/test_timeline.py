"""A video's score over time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mmsa_suparc
from mmsa_suparc.data.demo import Demo
from mmsa_suparc.errors import UserError
from mmsa_suparc.serving import timeline
from mmsa_suparc.serving.predictor import SupArcPredictor
from mmsa_suparc.videos.fet import ClipFeatures
from mmsa_suparc.videos.recipe import FROM_VIDEO, Normalisation, Recipe


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory, demo: Demo) -> SupArcPredictor:
    """Of a run on features that a recipe makes."""
    out = tmp_path_factory.mktemp("run") / "one"
    result = mmsa_suparc.run("suparc", "demo", seeds=[1], epochs=1, out=out, progress=False)
    found = result.predictor(precision="fp32")
    widths = found.serving.widths
    found.serving = replace(
        found.serving, recipe=Recipe(),
        normalise={
            name: Normalisation(np.zeros(widths[name]), np.ones(widths[name]))
            for name in FROM_VIDEO
        },
    )  # fmt: skip
    return found


def clip_of(predictor: SupArcPredictor) -> ClipFeatures:
    """Ten seconds of sound, and faces in the first half."""
    random = np.random.default_rng(0)
    widths = predictor.serving.widths
    audio = random.normal(size=(100, widths["audio"])).astype(np.float32)
    vision = random.normal(size=(50, widths["vision"])).astype(np.float32)
    return ClipFeatures(audio, vision, (), 10.0)


def test_each_window_is_scored_as_a_clip_of_its_own(predictor: SupArcPredictor) -> None:
    clip = clip_of(predictor)
    table = predictor.predict_over_time(clip, every=4, text="a fine film")
    assert table["start"].tolist() == [0, 4, 8]
    assert table["end"].tolist() == [4, 8, 10]
    assert clip.audio is not None
    assert clip.vision is not None
    for place, (a, v) in enumerate(((slice(40), slice(20)), (slice(40, 80), slice(20, 40)))):
        alone = predictor.predict_clip(
            ClipFeatures(clip.audio[a], clip.vision[v], (), 4.0), text="a fine film"
        )
        assert table["score"][place] == pytest.approx(alone.score, abs=1e-5)
        assert table["label"][place] == alone.label


def test_a_window_without_anything_has_no_score(predictor: SupArcPredictor) -> None:
    clip = replace(clip_of(predictor), audio=None, vision=np.ones((2, 1), dtype=np.float32))
    parts = timeline.windows(clip, 2.5)
    assert [part.vision is None for *_, part in parts] == [True, False, True, False]
    silent = ClipFeatures(None, None, (), 4.0)
    table = predictor.predict_over_time(silent, every=2)
    assert table["error"].str.contains("no modality is left").all()
    assert table["score"].isna().all()


def test_it_is_written_as_a_table_and_a_picture(predictor: SupArcPredictor) -> None:
    table = predictor.predict_over_time(clip_of(predictor), every=1)
    picture = timeline.write(table, Path("talk.csv"), predictor.serving.score_range)
    assert picture.read_bytes().startswith(b"\x89PNG")
    pd.testing.assert_series_equal(pd.read_csv("talk.csv")["score"], table["score"])


def test_mistakes_are_refused(predictor: SupArcPredictor, mmsa: Callable) -> None:
    for every in (0, -1, 1e-9):
        with pytest.raises(UserError, match="windows of"):
            predictor.predict_over_time(clip_of(predictor), every=every)
    status, _, err = mmsa("predict", "--run", "x", "--features", "y", "--every", "2")
    assert status == 2
    assert "--every divides one --video into windows" in err
