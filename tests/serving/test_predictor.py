"""A trained model, asked through Python and through the command."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import mmsa_suparc
from mmsa_suparc.data import reader, schema
from mmsa_suparc.data.demo import Demo
from mmsa_suparc.errors import UserError
from mmsa_suparc.serving.card import card
from mmsa_suparc.serving.prediction import EXTRAPOLATION, Words, class_names
from mmsa_suparc.serving.predictor import SupArcPredictor


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, demo: Demo) -> Path:
    from mmsa_suparc.cli import main

    folder = tmp_path_factory.mktemp("run")
    arguments = ["-m", "suparc", "-d", "demo", "-s", "1", "-s", "2", "--epochs", "2"]
    more = ["--set", "precision=fp32", "--run-dir", str(folder / "run")]
    assert main([*arguments, *more, "--res-save-dir", str(folder / "table"), "-v", "0"]) == 0
    mmsa_suparc.unregister()
    return folder / "run"


@pytest.fixture(scope="module")
def predictor(run: Path) -> SupArcPredictor:
    return SupArcPredictor.from_run(run, seed=1)


@pytest.fixture(scope="module")
def clips(demo: Demo) -> dict[str, Any]:
    content = schema.normalised(reader.read(demo.features))["test"]
    names = ("raw_text", "audio", "vision", "audio_lengths", "vision_lengths")
    return {name: content[name][:12] for name in names}


def scores(found: list) -> np.ndarray:
    return np.array([one.score for one in found])


def test_the_scores_are_those_of_the_run(
    run: Path, predictor: SupArcPredictor, clips: dict[str, Any]
) -> None:
    table = pd.read_csv(run / "seed-1" / "predictions.csv")
    expected = table[table["split"] == "test"]["prediction"].to_numpy()[:12]
    found = predictor.predict_features(clips)
    np.testing.assert_allclose(scores(found), expected, atol=1e-4)
    assert {one.label for one in found} <= {"negative", "neutral", "positive"}
    one_by_one = [
        predictor.predict_features({name: value[i : i + 1] for name, value in clips.items()})[0]
        for i in range(12)
    ]
    np.testing.assert_allclose(scores(one_by_one), scores(found), atol=1e-5)


def train(folder: Path, *values: str) -> Path:
    """A run of one epoch on the demo data, with these values."""
    from mmsa_suparc.cli import main

    sets = [word for value in values for word in ("--set", value)]
    where = ["--run-dir", str(folder / "run"), "--res-save-dir", str(folder / "table")]
    assert main(["-d", "demo", "-s", "1", "--epochs", "1", *sets, *where, "-v", "0"]) == 0
    mmsa_suparc.unregister()
    return folder / "run"


def test_the_scores_are_those_of_a_run_with_every_option(
    tmp_path: Path, clips: dict[str, Any]
) -> None:
    run = train(
        tmp_path, "presence_flags=true", "fusion_norm=projection", "standardise=true",
        "sequence_pooling=attention", "shared_dropout=true", "ema=0.9", "layer_decay=0.8",
    )  # fmt: skip
    predictor = SupArcPredictor.from_run(run)
    assert (predictor.model.audio_encoder.standardise.scale != 1).all()
    table = pd.read_csv(run / "seed-1" / "predictions.csv")
    expected = table[table["split"] == "test"]["prediction"].to_numpy()[:12]
    np.testing.assert_allclose(scores(predictor.predict_features(clips)), expected, atol=1e-4)
    predictor.save_pretrained(tmp_path / "saved")
    again = SupArcPredictor.from_pretrained(tmp_path / "saved")
    np.testing.assert_allclose(scores(again.predict_features(clips)), expected, atol=1e-4)


def test_mixed_precision_is_the_text_encoders_alone(
    mmsa: Callable, demo: Demo, tmp_path: Path
) -> None:
    folder = train(tmp_path, "precision=bf16")
    environment = json.loads((folder / "seed-1" / "environment.json").read_text())
    assert environment["precision"] == "bf16"
    stored = pd.read_csv(folder / "seed-1" / "predictions.csv")
    expected = stored["prediction"].to_numpy(np.float32)
    rounded = torch.tensor(expected).bfloat16().float().numpy()
    assert len(set(expected)) == len(expected)
    assert (rounded != expected).mean() > 0.95

    status, _, _ = mmsa("predict", "--run", folder, "--features", demo.features, "--out", "o.csv")
    assert status == 0
    served = pd.read_csv("o.csv").set_index("clip")
    assert set(served["precision"]) == {"bf16"}
    clips = stored["split"] + "/" + stored["id"]
    np.testing.assert_allclose(served.loc[clips, "score"], expected, atol=1e-5)
    status, out, _ = mmsa(
        "predict", "--run", folder, "--features", demo.features, "--out", "o.csv",
        "--precision", "fp32",
    )  # fmt: skip
    assert "text encoder in fp32" in out
    other = pd.read_csv("o.csv").set_index("clip").loc[clips, "score"]
    assert 1e-5 < (other - expected).abs().max() < 0.1


def test_scores_that_no_loss_has_trained_are_called_extrapolations(
    mmsa: Callable, demo: Demo, tmp_path: Path
) -> None:
    untrained = train(tmp_path, "weight_masked=0")
    predictor = SupArcPredictor.from_run(untrained)
    assert EXTRAPOLATION in predictor.predict(text="a fine film").warnings
    status, out, _ = mmsa("predict", "--run", untrained, "--features", demo.features)
    assert status == 0
    assert out.count("extrapolations") == 1
    for number, value in enumerate(("weight_masked=0.1", "mask_rate=0.3")):
        trained = SupArcPredictor.from_run(train(tmp_path / str(number), value))
        assert EXTRAPOLATION not in trained.predict(text="a fine film").warnings


def test_left_out_is_as_if_it_were_missing(
    predictor: SupArcPredictor, clips: dict[str, Any]
) -> None:
    found = predictor.predict_features(clips)
    for name, field in (("text", "raw_text"), ("audio", "audio"), ("vision", "vision")):
        rest = {key: value for key, value in clips.items() if not key.startswith(field)}
        missing = predictor.predict_features(rest)
        left_out = [getattr(one, f"without_{name}") for one in found]
        np.testing.assert_allclose(left_out, scores(missing), atol=1e-5)
        assert all(getattr(one, f"without_{name}") is None for one in missing)
        assert all(f"{name} is missing" in one.warnings for one in missing)
        others = [m for m in ("text", "audio", "vision") if m != name]
        unticked = predictor.predict_features(clips, present=others)
        np.testing.assert_allclose(scores(unticked), scores(missing), atol=1e-5)


def test_text_alone_and_nothing_at_all(predictor: SupArcPredictor) -> None:
    alone = predictor.predict(text="a fine film")
    assert alone.without_text is None
    assert alone.warnings[:2] == ("audio is missing", "vision is missing")
    with pytest.raises(UserError, match="no modality is left"):
        predictor.predict(text=" ")
    with pytest.raises(UserError, match="nobody said how they are made"):
        predictor.predict(video="clip.mp4")
    long = predictor.predict(text="word " * 500)
    assert "text: cut after 25 tokens" in long.warnings


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"audio": np.zeros((12, 5, 3))}, r"audio: shape \(12, 5, 3\); this model expects"),
        ({"vision": np.full((12, 5, 20), np.nan)}, "vision: numbers that are not finite"),
        ({"raw_text": ["one"]}, "expected as many clips of each"),
        ({"text_bert": np.full((12, 3, 4), 10**6)}, "ids below"),
        ({"text_bert": np.zeros((12, 4))}, r"expected \(clips, 3, tokens\)"),
    ],
)
def test_features_that_do_not_fit_are_refused(
    change: dict, message: str, predictor: SupArcPredictor, clips: dict[str, Any]
) -> None:
    if "vision" in change:
        change = {"vision": np.full((12, 5, clips["vision"].shape[2]), np.nan)}
    with pytest.raises(UserError, match=message):
        predictor.predict_features({**clips, **change})
    with pytest.raises(UserError, match="expected as many clips of each"):
        predictor.predict_features({})


def test_saved_and_loaded_it_says_the_same(
    predictor: SupArcPredictor, clips: dict[str, Any], tmp_path: Path
) -> None:
    predictor.save_pretrained(tmp_path / "saved")
    loaded = SupArcPredictor.from_pretrained(tmp_path / "saved")
    assert loaded.predict_features(clips) == predictor.predict_features(clips)
    card = (tmp_path / "saved" / "README.md").read_text()
    assert "Scores from -3 to 3" in card
    assert "Trained on: demo, seed 1" in card
    published = "".join(
        path.read_text() for path in (tmp_path / "saved").iterdir()
        if path.suffix in (".json", ".md")
    )  # fmt: skip
    assert "/tmp" not in published
    assert str(Path.home()) not in published
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no saved SupArcPredictor"):
        SupArcPredictor.from_pretrained(tmp_path / "empty")


def test_threads_do_not_disturb_each_other(
    predictor: SupArcPredictor, clips: dict[str, Any]
) -> None:
    texts = ["word", "some more words " * 20, "a fine film"]  # short and cut: other paddings
    expected = [predictor.predict(text=text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: predictor.predict(text=texts[n % 3]), range(60)))
    for place, one in enumerate(found):
        assert one.score == pytest.approx(expected[place % 3].score, abs=1e-5)
        assert one.warnings == expected[place % 3].warnings


def test_the_best_seed_on_validation_is_taken(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
    found = {line["seed"]: line["metrics"]["valid"]["MAE"] for line in lines}
    assert SupArcPredictor.from_run(run).serving.seed == min(found, key=found.__getitem__)


def test_the_command_prints_a_table_json_and_a_csv(mmsa: Callable, run: Path, demo: Demo) -> None:
    status, out, _ = mmsa("predict", "--run", run, "--features", demo.features, "--out", "o.csv")
    assert status == 0
    assert "without text" in out
    table = pd.read_csv("o.csv")
    assert {"clip", "score", "label", "without_text", "without_audio", "without_vision"} <= set(
        table.columns
    )
    assert table["clip"].str.startswith("test/").sum() == 300
    status, out, _ = mmsa("predict", "--run", run, "--features", demo.features, "--json")
    assert json.loads(out)[0]["score"] == pytest.approx(table["score"][0], abs=1e-5)
    status, out, _ = mmsa("predict", "--run", run, "--text", "a great film", "--json")
    expected = SupArcPredictor.from_run(run).predict(text="a great film")
    assert (status, json.loads(out)["score"]) == (0, pytest.approx(expected.score, abs=1e-5))
    assert json.loads(out)["without_audio"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--run", "nowhere", "--video", "x.mp4"), "nowhere: no finished run here"),
        (("--run", "RUN", "--video", "x.mp4"), "nobody said how they are made"),
        (("--run", "RUN", "--seed", "9", "--features", "x.pkl"), "no finished seed 9; it has 1, 2"),
        (("--run", "RUN", "--features", "x.pkl"), "feature file x.pkl: No such file"),
        (("--run", "RUN", "--csv", "x.csv"), "--csv x.csv: "),
        (("--run", "RUN"), "one of the arguments --video --csv --features is required, or words"),
        (("--run", "RUN", "--text", ""), "no modality is left"),
        (("--run", "RUN", "--csv", "x.csv", "--text", "a"), "say what one --video says"),
        (
            ("--run", "RUN", "--video", "x", "--max-seconds", "0"),
            "--max-seconds: found '0', expected",
        ),
    ],
)
def test_mistakes_are_one_line(mmsa: Callable, run: Path, arguments: tuple, message: str) -> None:
    given = [run if word == "RUN" else word for word in arguments]
    status, out, err = mmsa("predict", *given)
    assert status == 2
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_other_weights_and_other_models_are_refused(
    mmsa: Callable, run: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    weights = copy / "seed-1" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(UserError, match="checksum differs"):
        SupArcPredictor.from_run(copy, seed=1)
    (copy / "serving.json").unlink()
    with pytest.raises(UserError, match="not complete"):
        SupArcPredictor.from_run(copy, seed=2)
    text = (copy / "records.jsonl").read_text()
    (copy / "records.jsonl").write_text(text.replace('"suparc"', '"lf_dnn"'))
    with pytest.raises(UserError, match="a run of 'lf_dnn'; expected one of suparc"):
        SupArcPredictor.from_run(copy)


def test_many_clips_are_one_table(predictor: SupArcPredictor) -> None:
    rows = [{"id": "a", "text": "a fine film"}, {"text": " "}, {"text": "a bad film"}]
    table = predictor.predict_many(rows)
    assert list(table["clip"]) == ["a", "1", "2"]
    for place in (0, 2):
        alone = predictor.predict(text=rows[place]["text"])
        assert table["score"][place] == pytest.approx(alone.score, abs=1e-5)
        assert table["warnings"][place] == "; ".join(alone.warnings)
    assert np.isnan(table["score"][1])
    assert table["error"].str.contains("no modality is left").tolist() == [False, True, False]
    frame = pd.DataFrame({"text": ["a fine film", None], "video": [None, "clip.mp4"]})
    with pytest.raises(UserError, match="nobody said how they are made"):
        predictor.predict_many(frame)
    with pytest.raises(UserError, match=r"clip 0: .*; expected 'video', 'text' or both"):
        predictor.predict_many([{"words": "a"}])


def test_the_batch_size_does_not_change_the_scores(
    run: Path, predictor: SupArcPredictor, clips: dict[str, Any]
) -> None:
    by_one = SupArcPredictor.from_run(run, seed=1, batch_size=1)
    assert (by_one.batch_size, predictor.batch_size) == (1, 64)
    np.testing.assert_allclose(
        scores(by_one.predict_features(clips)), scores(predictor.predict_features(clips)), atol=1e-5
    )
    with pytest.raises(UserError, match="batch_size -1"):
        SupArcPredictor.from_run(run, batch_size=-1)


def test_labels_are_of_as_many_classes_as_asked(run: Path, mmsa: Callable, demo: Demo) -> None:
    of_seven = SupArcPredictor.from_run(run, classes=7)
    found = of_seven.predict(text="a fine film")
    place = int(np.round(found.score)) + 3
    assert found.label == class_names(7)[place]
    status, _, _ = mmsa(
        "predict", "--run", run, "--features", demo.features, "--out", "o.csv", "--classes", "2"
    )
    table = pd.read_csv("o.csv")
    assert status == 0
    assert ((table["label"] == "positive") == (table["score"] >= 0)).all()


@pytest.mark.parametrize(
    ("family", "count", "score", "word"),
    [
        ("mosi", 2, 0.0, "positive"),
        ("mosi", 3, 0.4, "neutral"),
        ("mosi", 5, -1.2, "weakly negative"),
        ("mosi", 5, 2.9, "positive"),
        ("mosi", 7, 2.9, "strongly positive"),
        ("sims", 2, 0.0, "negative"),
        ("sims", 3, 0.1, "neutral"),
        ("sims", 5, 0.8, "positive"),
    ],
)
def test_words_have_the_bins_of_the_metrics(
    family: Any, count: Any, score: float, word: str
) -> None:
    assert Words((-3, 3), family, count).of(score) == word


def test_classes_that_the_metrics_lack_are_refused() -> None:
    with pytest.raises(UserError, match="7 classes: expected one of 2, 3, 5 with the metrics of"):
        Words((-1, 1), "sims", 7)


def test_the_card_says_of_what_it_is_and_how_good(run: Path) -> None:
    served = SupArcPredictor.from_run(run, seed=1).serving
    text = card(served)
    records = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
    own = next(one for one in records if one["seed"] == 1)
    values = [one["metrics"]["test"]["MAE"] for one in records]
    assert f"| MAE | {own['metrics']['test']['MAE']:.4f} | {np.mean(values):.4f} [" in text
    assert f"feature file {own['identity']['data']}" in text
    assert f"contents {own['identity']['encoder']}" in text
    assert "## Licence" in text
