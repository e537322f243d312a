"""Recipes, and what they make of frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmsa_suparc.config import plugin_configs
from mmsa_suparc.errors import ConfigError, UserError
from mmsa_suparc.videos import recipe
from mmsa_suparc.videos.recipe import Normalisation, averaged, padded

SHIPPED = sorted((plugin_configs() / "fet").glob("*.yaml"))


def test_shipped_recipes_can_be_read() -> None:
    assert {path.stem for path in SHIPPED} >= {"default", "openface"}
    for path in SHIPPED:
        assert recipe.load(path.stem) == recipe.load(str(path))
        # Image files are sorted by name in MMSA-FET: frame 1000 would come before frame 999.
        assert recipe.load(path.stem).fps * 61 < 1000


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"recipe defualt: no such file.*'default'"):
        recipe.load("defualt")
    path = tmp_path / "r.yaml"
    path.write_text("frames: {audio: 0}")
    with pytest.raises(ConfigError, match=r"frames\.audio: .*greater than or equal to 1"):
        recipe.load(str(path))
    path.write_text("sound: {}")
    with pytest.raises(ConfigError, match="sound"):
        recipe.load(str(path))


@pytest.mark.parametrize(
    "change",
    [
        {"audio": {"tool": "opensmile", "args": {"feature_set": "x and __import__('os')"}}},
        {"audio": {"tool": "opensmile", "args": {"feature_level": "a.b"}}},
        {"audio": {"tool": "wav2vec", "pretrained": "/a/b"}},
        {"video": {"tool": "mediapipe", "args": {"visualize": True}}},
        {"video": {"tool": "mediapipe", "args": {"visualize_dir": "/etc"}}},
        {"video": {"tool": "openface", "multiFace": {"enable": True}}},
        {"video": {"tool": "mediapipe", "fps": "fast"}},
        {"video": {"tool": "mediapipe", "fps": 0}},
        {"video": {"tool": "mediapipe", "args": {"$(id)": 1}}},
    ],
)
def test_a_stranger_s_recipe_cannot_run_or_write_anything(change: dict) -> None:
    good = recipe.load("default").model_dump()
    assert recipe.of_json(good) == recipe.load("default")
    with pytest.raises(UserError, match="recipe of the features: "):
        recipe.of_json({**good, **change})


def test_neighbours_become_their_mean() -> None:
    frames = np.arange(14, dtype=np.float32).reshape(7, 2)
    expected = [[2, 3], [8, 9], [12, 13]]
    np.testing.assert_allclose(averaged(frames, 3), expected)
    np.testing.assert_array_equal(averaged(frames, 1), frames)


def test_normalised_frames_have_mean_0_and_deviation_1() -> None:
    chance = np.random.default_rng(0)
    clips = [chance.normal(5, 3, size=(count, 4)) for count in (20, 7)]
    clips = [np.hstack([clip, np.full((len(clip), 1), 8.0)]) for clip in clips]  # never varies
    normalise = Normalisation.from_json(Normalisation.of(clips).as_json(), 5)
    whole = np.concatenate([normalise(clip) for clip in clips])
    np.testing.assert_allclose(whole.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(whole.std(axis=0), [1, 1, 1, 1, 0], atol=1e-5)


def test_padding_cuts_and_marks_what_is_missing() -> None:
    whole, lengths = padded([np.ones((2, 3)), None, np.ones((9, 3))], 4)
    assert whole.shape == (3, 4, 3)
    assert lengths.tolist() == [2, 0, 4]
    assert whole.sum(axis=(1, 2)).tolist() == [6, 0, 12]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "found list"),
        ("video: [mediapipe]", "video"),
        ("video: {tool: [mediapipe]}", "video.tool"),
        ("video: {tool: mediapipe, args: 3}", "video.args: 3; expected"),
        ("video: {tool: mediapipe, multiFace: [enable]}", "video.multiFace"),
        ("video: {tool: mediapipe, fps: .inf}", "fps: inf"),
        ("video: {tool: mediapipe, fps: .nan}", "fps: nan"),
        ("video: {tool: mediapipe, fps: true}", "fps: True"),
        ("frames: {audio: 1000000000}", "less than or equal to 100000"),
        ("average: {vision: 1.5}", "average.vision"),
        ("silence: .nan", "silence"),
    ],
)
def test_hostile_recipes_are_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        recipe.load(str(path))
    assert message in str(error.value)
    assert "\n" not in str(error.value)
