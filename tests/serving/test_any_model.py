"""Any run folder's model, asked about a feature file, clips, a video over time, on the page."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mmsa_suparc
from mmsa_suparc.data import missing
from mmsa_suparc.data.demo import AUDIO_WIDTH, VISION_WIDTH, Demo, feature_file
from mmsa_suparc.errors import UserError
from mmsa_suparc.runs.trained import load_trained
from mmsa_suparc.serving.any_model import ZEROED, RunPredictor, load_predictor
from mmsa_suparc.serving.asking import ClipPredictor
from mmsa_suparc.serving.predictor import SupArcPredictor
from mmsa_suparc.videos import fet
from mmsa_suparc.videos.fet import ClipFeatures
from mmsa_suparc.videos.recipe import Normalisation, Recipe

FRAMES = 25


@pytest.fixture(scope="module", params=["lf_dnn", "self_mm"])
def run(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, demo: Demo
) -> Path:
    out = tmp_path_factory.mktemp("runs") / request.param
    mmsa_suparc.run(request.param, "demo", seeds=[1], epochs=1, out=out, progress=False)
    return out


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small file as ``mmsa extract`` writes it: words, features, and the recipe of them."""
    content = feature_file({"train": 21, "valid": 11, "test": 11})
    record = {
        "recipe": Recipe.model_validate(
            {"frames": {"audio": FRAMES, "vision": FRAMES}}
        ).model_dump(),
        "score_range": [-3, 3],
        **{
            name: Normalisation(np.zeros(width), np.ones(width)).as_json()
            for name, width in (("audio", AUDIO_WIDTH), ("vision", VISION_WIDTH))
        },
    }
    for fields in content.values():
        del fields["text"]
        fields["recipe"] = json.dumps(record)
        for name in ("audio", "vision"):
            fields[name] = fields[name][:, :FRAMES]
            fields[f"{name}_lengths"] = fields[f"{name}_lengths"].clip(max=FRAMES)
    path = tmp_path_factory.mktemp("made") / "made.pkl"
    path.write_bytes(pickle.dumps(content))
    return path


@pytest.fixture(
    scope="module",
    params=[
        "lf_dnn",
        "self_mm",
        "tfr_net",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("ef_lstm", "mmim")),
    ],
)
def of_videos(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, made: Path, demo: Demo
) -> Path:
    """Runs on it, of models that each read their inputs in another way."""
    out = tmp_path_factory.mktemp("of_videos") / request.param
    mmsa_suparc.run(
        request.param, "custom", features=made, text_encoder=demo.encoder, seeds=[1], epochs=1,
        set={"batch_size": 10}, out=out, progress=False,
    )  # fmt: skip
    return out


def clip() -> ClipFeatures:
    """Ten seconds of sound and faces."""
    random = np.random.default_rng(0)
    audio = random.normal(size=(20, AUDIO_WIDTH)).astype(np.float32)
    vision = random.normal(size=(10, VISION_WIDTH)).astype(np.float32)
    return ClipFeatures(audio, vision, (), 10.0)


def test_the_scores_are_those_of_the_run(run: Path, demo: Demo, mmsa: Callable) -> None:
    moved = shutil.copy(demo.features, "elsewhere.pkl")
    status, out, _ = mmsa("predict", "--run", run, "--features", moved, "--out", "o.csv")
    assert status == 0
    assert out.count("knows no masks; a modality left out is zeros") == 1
    table = pd.read_csv("o.csv").set_index("clip")
    kept = pd.read_csv(run / "seed-1" / "predictions.csv")
    expected = kept.set_index(kept["split"] + "/" + kept["id"])["prediction"]
    np.testing.assert_allclose(table.loc[expected.index, "score"], expected, atol=1e-4)
    assert (table["without_text"] - table["score"]).abs().max() > 1e-4
    assert len(table) > len(expected)  # training clips, too
    frame = mmsa_suparc.load_run(run).predict_file(moved, classes=7)
    np.testing.assert_allclose(frame["score"], table["score"], atol=1e-6)
    assert frame["warnings"][0] == ZEROED.format(run.name)


def test_a_benchmark_s_probe_reaches_the_model(of_videos: Path, registered: None) -> None:
    trained = load_trained(of_videos, 1)
    inputs = trained.inputs("test")
    only_audio = np.tile([False, True, False], (len(inputs), 1))
    whole = trained.predict("test")
    without = trained.predict("test", missing.keep(inputs, only_audio))
    assert np.abs(without - whole).max() > 0.1 * np.ptp(whole)


def test_words_are_scored_as_in_the_embedded_data_set(run: Path, demo: Demo) -> None:
    predictor = load_predictor(run)
    clips = feature_file({"train": 3})["train"]
    inputs = {name: clips[name] for name in ("raw_text", "audio", "vision")}
    inputs |= {f"{name}_lengths": clips[f"{name}_lengths"] for name in ("audio", "vision")}
    from_words = [one.score for one in predictor.predict_features(inputs)]
    features = {**inputs, "text": clips["text"], "text_bert": clips["text_bert"]}
    given = [one.score for one in predictor.predict_features(features)]
    np.testing.assert_allclose(from_words, given, atol=1e-5)
    assert np.ptp(from_words) > 0


def test_what_does_not_fit_is_one_line(run: Path, mmsa: Callable, demo: Demo) -> None:
    status, _, err = mmsa("predict", "--run", run, "--video", "x.mp4")
    assert status == 2
    assert "nobody said how they are made" in err
    predictor = load_predictor(run)
    with pytest.raises(UserError, match="No such file"):
        predictor.predict_file("absent.pkl")
    with pytest.raises(UserError, match=r"audio: shape \(1, 5, 3\); this model expects"):
        predictor.predict_features({"raw_text": ["a"], "audio": np.zeros((1, 5, 3))})
    with pytest.raises(UserError, match="computes in fp32"):
        load_predictor(run, precision="bf16")
    with pytest.raises(UserError, match=f"of suparc alone, and this is {run.name}; hand on its"):
        predictor.save_pretrained("folder")
    assert not Path("folder").exists()
    for kind in ("onnx", "torch"):
        status, _, err = mmsa("export", "--run", run, "--out", "file", "--format", kind)
        assert (status, err.count("\n")) == (2, 1)
        assert f"a run of '{run.name}'; expected one of suparc" in err
    assert not Path("file").exists()
    (run / "serving.json").rename(run / "away.json")
    try:
        with pytest.raises(UserError, match="not complete"):
            load_predictor(run)
    finally:
        (run / "away.json").rename(run / "serving.json")


def test_a_clip_is_scored_as_in_the_runs_file(of_videos: Path, made: Path) -> None:
    predictor = mmsa_suparc.load_run(of_videos).predictor()
    assert isinstance(predictor, RunPredictor)
    assert not isinstance(predictor, SupArcPredictor)
    assert f"RunPredictor({of_videos.name} on custom, seed 1" in repr(predictor)
    names, found = predictor.predict_file(made)
    kept = pd.read_csv(of_videos / "seed-1" / "predictions.csv")
    expected = kept.set_index(kept["split"] + "/" + kept["id"])["prediction"]
    scores = pd.Series([one.score for one in found], names)
    np.testing.assert_allclose(scores[expected.index], expected, atol=1e-5)
    if of_videos.name == "tfr_net":  # what it leaves out at random depends on a clip's place
        assert "leaves out frames and tokens at random" in found[0].warnings[0]
        return
    fields = pickle.loads(made.read_bytes())["test"]
    one = ClipFeatures(
        fields["audio"][0][: fields["audio_lengths"][0]],
        fields["vision"][0][: fields["vision_lengths"][0]], (), 5.0,
    )  # fmt: skip
    alone = predictor.predict_clip(one, text=str(fields["raw_text"][0]))
    assert alone.score == pytest.approx(scores[f"test/{fields['id'][0]}"], abs=1e-5)


def test_what_is_left_out_is_as_if_it_were_missing(of_videos: Path) -> None:
    predictor = load_predictor(of_videos)
    whole = predictor.predict_clip(clip(), text="a fine film")
    assert whole.warnings[0].startswith(ZEROED.format(of_videos.name))
    silent = predictor.predict_clip(clip(), text=None)
    assert silent.score == pytest.approx(whole.without_text, abs=1e-6)
    assert silent.without_text is None
    unticked = predictor.predict_clip(clip(), text="a fine film", present=["text", "vision"])
    assert unticked.score == pytest.approx(whole.without_audio, abs=1e-6)
    alone = predictor.predict(text="a fine film")
    assert alone.warnings[:2] == ("audio is missing", "vision is missing")
    with pytest.raises(UserError, match="no modality is left"):
        predictor.predict(text=" ")


def test_many_clips_windows_and_pickles_are_as_suparcs(
    of_videos: Path, mmsa: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = load_predictor(of_videos)
    table = predictor.predict_many([{"id": "a", "text": "a fine film"}, {"text": " "}])
    assert table["clip"].tolist() == ["a", "1"]
    assert table["error"].str.contains("no modality is left").tolist() == [False, True]
    curve = predictor.predict_over_time(clip(), every=4, text="a fine film")
    assert curve["end"].tolist() == [4, 8, 10]
    again = pickle.loads(pickle.dumps(predictor))
    assert again.predict(text="a fine film") == predictor.predict(text="a fine film")
    # MMSA-FET lives elsewhere: what it gives stands in for it.
    monkeypatch.setattr(fet, "require_fet", lambda python: None)
    monkeypatch.setattr(ClipPredictor, "extract", lambda self, video: clip())
    Path("a.mp4").touch()
    arguments = ("predict", "--run", of_videos, "--video", "a.mp4", "--text", "a fine film")
    status, out, err = mmsa(*arguments, "--json")
    assert status == 0, err
    whole = predictor.predict_clip(clip(), text="a fine film")
    assert json.loads(out)["score"] == pytest.approx(whole.score, abs=1e-6)
    status, out, err = mmsa(*arguments, "--every", 4, "--out", "talk.csv")
    assert status == 0, err
    assert Path("talk.png").read_bytes().startswith(b"\x89PNG")
    np.testing.assert_allclose(pd.read_csv("talk.csv")["score"], curve["score"], atol=1e-6)
    Path("clips.csv").write_text("path,text\na.mp4,a fine film\n")
    status, out, _ = mmsa("predict", "--run", of_videos, "--csv", "clips.csv", "--json")
    assert json.loads(out)[0]["score"] == pytest.approx(whole.score, abs=1e-6)


def test_text_of_unknown_making_is_refused_as_words(
    tmp_path: Path, demo: Demo, mmsa: Callable
) -> None:
    copy = shutil.copy(demo.features, "copy.pkl")
    mmsa_suparc.run(
        "lf_dnn", "custom", features=copy, seeds=[1], epochs=1, out=tmp_path / "run", progress=False
    )
    predictor = load_predictor(tmp_path / "run")
    with pytest.raises(UserError, match="nobody said how they are made of words"):
        predictor.predict(text="a fine film")
    assert len(predictor.predict_file(copy)[0]) > 300


def test_the_page_says_that_inputs_are_zeroed(run: Path) -> None:
    app = pytest.importorskip("mmsa_suparc.serving.app")
    pytest.importorskip("gradio")
    page = app.Page(load_predictor(run))
    shown, told, words = page.show_example()
    assert "embedded data set" in told
    result, history, _ = page.score(shown, words, ["text", "audio", "vision"])
    assert "not used" not in result
    assert f"zeroed inputs: {run.name} knows no masks" in result
    assert 'id="tries"' in history
    layout = json.dumps(app.blocks(page).get_config_file(), default=str)
    assert layout.count(f"zeroed inputs: {run.name} knows no masks") == 1
