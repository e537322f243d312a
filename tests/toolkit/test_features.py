"""What a trainer that takes arrays is given of an aligned file: who is there, and how long."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mmsa_suparc
from mmsa_suparc.data import missing
from mmsa_suparc.data.demo import Demo, feature_file
from mmsa_suparc.runs.trained import Trained, load_trained
from mmsa_suparc.toolkit.features import clips_of
from mmsa_suparc.training import evaluation
from tests.helpers.advice import beside_advice

#: Of the test split: a clip without words whose audio and vision are there, and one with nothing
#: but vision.
SILENT, ONLY_SEEN = 2, 5


@pytest.fixture
def trained(mmsa: Callable, tmp_path: Path, demo: Demo) -> Trained:
    """A SupArc trained on an aligned file: frames beside tokens, and no lengths."""
    content = feature_file({"train": 34, "valid": 6, "test": 9})
    for fields in content.values():
        for name in ("audio", "vision"):
            tokens = fields["text_bert"].shape[2]
            fields[name] = np.resize(
                fields[name], (len(fields["id"]), tokens, fields[name].shape[2])
            )
            del fields[f"{name}_lengths"]
    test = content["test"]
    for place in (SILENT, ONLY_SEEN):
        test["raw_text"][place] = " "
        test["text_bert"][place, 0, 1] = test["text_bert"][place, 0, 2:].max()  # [SEP]
        test["text_bert"][place, 1:, 2:] = 0
    test["audio"][ONLY_SEEN] = 0
    path = tmp_path / "aligned.pkl"
    path.write_bytes(pickle.dumps(content))
    status, _, err = mmsa(
        "-d", "mosi", "--features", path, "--text-encoder", demo.encoder, "-s", 1, "--epochs", 1,
        "--set", "need_data_aligned=true", "--set", "precision=fp32", "--run-dir", "run",
    )  # fmt: skip
    assert (status, beside_advice(err)) == (0, "")
    mmsa_suparc.register()
    return load_trained(Path("run"), 1)


def test_a_clip_without_words_keeps_its_audio_and_vision(trained: Trained) -> None:
    clips = clips_of(trained.loaders["test"])
    has = trained.model.Model.presence(clips.text, clips.audio_lengths, clips.vision_lengths)
    expected = np.ones((9, 3), dtype=bool)
    expected[SILENT] = [False, True, True]
    expected[ONLY_SEEN] = [False, False, True]
    assert np.array_equal(has.numpy(), expected)
    assert clips.audio_lengths[SILENT] > 2


@pytest.mark.parametrize("names", [["text", "vision"], ["text"], ["audio"]])
def test_what_is_taken_away_is_masked(trained: Trained, names: list[str]) -> None:
    inputs = trained.inputs("test")
    found = trained.predict("test", missing.keep(inputs, missing.subset(9, names)))
    masked = evaluation.predict(
        trained.model.Model, clips_of(trained.loaders["test"]), trained.trainer.runtime,
        batch_size=4, present=names,
    )  # fmt: skip
    np.testing.assert_allclose(found, masked.numpy(), atol=1e-5)


def test_the_command_scores_an_aligned_file_as_the_run_did(
    trained: Trained, mmsa: Callable
) -> None:
    mmsa_suparc.unregister()
    status, _, err = mmsa("predict", "--run", "run", "--features", "aligned.pkl", "--out", "o.csv")
    assert (status, beside_advice(err)) == (0, "")
    stored = pd.read_csv("run/seed-1/predictions.csv")
    served = pd.read_csv("o.csv").set_index("clip")["score"]
    np.testing.assert_allclose(
        served.loc[stored["split"] + "/" + stored["id"]], stored["prediction"], atol=1e-5
    )
