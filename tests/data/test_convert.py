"""Feature files of what people have; nothing is written where anything is wrong."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mmsa_suparc.data import reader, safe_pickle
from mmsa_suparc.data.demo import Demo
from tests.helpers.advice import beside_advice

CLIPS = [("v1", 0, "train"), ("v1", 1, "train"), ("v2", 0, "valid"), ("v3", 0, "test")]
TEXTS = ["the plot was good", "the film was bad", "great", "the music was very awful"]
SCORES = [1.2, -1.4, 1.6, -2.6]


def frames(seed: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(3 + seed, width)).astype(np.float32)


def table(**more: Any) -> pd.DataFrame:
    rows = {
        "video_id": [video for video, _, _ in CLIPS], "clip_id": [clip for _, clip, _ in CLIPS],
        "text": TEXTS, "label": SCORES, "mode": [split for _, _, split in CLIPS], **more,
    }  # fmt: skip
    return pd.DataFrame(rows)


def folder(**more: Any) -> Path:
    """A file a clip for audio, one array for vision."""
    source = Path("source")
    for row, (video, clip, _) in enumerate(CLIPS):
        (source / "audio" / video).mkdir(parents=True, exist_ok=True)
        if row != 3:
            np.save(source / "audio" / video / f"{clip}.npy", frames(row, 4))
    padded = np.zeros((4, 9, 5), dtype=np.float32)
    for row in range(4):
        padded[row, : 3 + row] = frames(row, 5)
    np.savez(source / "features.npz", vision=padded, vision_lengths=np.arange(3, 7))
    table(**more).to_csv(source / "label.csv", index=False)
    return source


def test_arrays_beside_a_table(mmsa: Callable, demo: Demo) -> None:
    source = folder(label_T=[0.0] * 4, label_A=[1.0] * 4, label_V=[-1.0] * 4)
    status, out, err = mmsa("data", "convert", source, "--out", "made.pkl")
    assert (status, err) == (0, "")
    assert "test: 1 clips; 1 without audio" in out
    content = reader.read("made.pkl")
    train = content["train"]
    assert train["id"].tolist() == ["v1$_$0", "v1$_$1"]
    assert train["raw_text"].tolist() == TEXTS[:2]
    assert train["regression_labels"] == pytest.approx(SCORES[:2])
    assert train["regression_labels_V"].tolist() == [-1.0, -1.0]
    for row in (0, 1):
        assert np.array_equal(train["audio"][row, : 3 + row], frames(row, 4))
        assert np.array_equal(train["vision"][row, : 3 + row], frames(row, 5))
        assert not train["audio"][row, 3 + row :].any()
    assert content["test"]["audio_lengths"].tolist() == [0]
    assert content["test"]["vision_lengths"].tolist() == [6]
    assert mmsa("data", "check", "made.pkl", "--data-set", "mosi")[0] == 0
    status, _, err = mmsa(
        "-m", "suparc", "-d", "custom", "--features", "made.pkl", "--text-encoder", demo.encoder,
        "-s", 1, "--epochs", 1, "--run-dir", "run", "--set", "batch_size=2",
    )  # fmt: skip
    assert (status, beside_advice(err)) == (0, "")


def test_clips_without_splits_are_divided_by_video(mmsa: Callable) -> None:
    source = folder()
    table().drop(columns="mode").to_csv(source / "label.csv", index=False)
    assert mmsa("data", "convert", source / "label.csv", "--out", "made.pkl")[0] == 0
    content = reader.read("made.pkl")
    assert sorted(len(fields["id"]) for fields in content.values()) == [1, 1, 2]
    assert len({split for split, fields in content.items() for name in fields["id"]
                if name.startswith("v1")}) == 1  # fmt: skip


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: table(label=[1, 2, 3, 9]).to_csv(s / "label.csv"), "scores from -3 to 3"),
        (lambda s: table(label=[1, 2, 3, "x"]).to_csv(s / "label.csv"), "line 5: 'x' is no number"),
        (lambda s: table(mode=["train"] * 4).to_csv(s / "label.csv"), "split 'valid': no clip"),
        (lambda s: table(mode=["a"] * 4).to_csv(s / "label.csv"), "split 'a'; expected train"),
        (lambda s: table(video_id=["../.."] * 4).to_csv(s / "label.csv"), "leads out of"),
        (lambda s: table().drop(columns="text").to_csv(s / "label.csv"), "no column 'text'"),
        (lambda s: np.save(s / "audio/v1/1.npy", frames(1, 7)), "7 values a frame of audio"),
        (lambda s: np.save(s / "audio/v1/1.npy", np.array(["a"])), "expected numbers"),
        (lambda s: np.save(s / "audio/v1/1.npy", np.full((2, 4), np.nan)), "finite numbers"),
        (lambda s: (s / "audio/v1/1.npy").write_bytes(b"no"), "no array"),
        (lambda s: (s / "features.npz").unlink(), "no vision; expected a folder vision/"),
        (lambda s: np.save(s / "vision.npy", np.zeros((3, 2, 2))), "with 4 clips"),
        (lambda s: (s / "label.csv").unlink(), "expected a folder with label.csv"),
    ],
)
def test_nothing_is_written_of_a_faulty_source(
    mmsa: Callable, spoil: Callable, message: str
) -> None:
    source = folder()
    spoil(source)
    status, _, err = mmsa("data", "convert", source, "--out", "made.pkl")
    assert status == 2
    assert message in err
    assert not Path("made.pkl").exists()


def sequences() -> dict[str, Any]:
    """As the CMU Multimodal SDK's, cut into clips by the labels of each video."""
    content: dict[str, Any] = {"CMU_COVAREP": {}, "CMU_OpenFace": {}, "CMU_Words": {},
                               "Opinion_Labels": {}}  # fmt: skip
    for name, scores in (("v1", [1.2, -1.4]), ("v2", [1.6]), ("v3", [-2.6])):
        ends = np.arange(1, 7 if len(scores) == 2 else 4, dtype=float)
        times = np.stack([ends - 1, ends], axis=1)
        words = np.array([[b"the"], [b"sp"], [b"good"]] * len(scores))
        content["CMU_Words"][name] = {"features": words, "intervals": times}
        starts = np.arange(0, ends[-1], 0.5)
        half = np.stack([starts, starts + 0.5], axis=1)
        for kind, width in (("CMU_COVAREP", 4), ("CMU_OpenFace", 5)):
            values = np.arange(len(half) * width, dtype=float).reshape(len(half), width)
            content[kind][name] = {"features": values, "intervals": half}
        spans = np.array([[0.0, 3.0], [3.0, 6.0]])[: len(scores)]
        content["Opinion_Labels"][name] = {"features": np.array(scores)[:, None],
                                           "intervals": spans}  # fmt: skip
    content["folds"] = {"train": ["v1"], "dev": ["v2"], "test": ["v3"]}
    return content


def test_sequences_of_the_sdk_are_cut_into_clips(mmsa: Callable) -> None:
    Path("sdk.pkl").write_bytes(pickle.dumps(sequences()))
    assert mmsa("data", "convert", "sdk.pkl", "--out", "made.pkl")[0] == 0
    content = reader.read("made.pkl")
    assert content["train"]["id"].tolist() == ["v1$_$0", "v1$_$1"]
    assert content["train"]["raw_text"].tolist() == ["the good", "the good"]
    assert content["train"]["audio_lengths"].tolist() == [6, 6]
    assert content["train"]["audio"][1, 0].tolist() == [24, 25, 26, 27]
    assert content["test"]["regression_labels"] == pytest.approx([-2.6])


def test_words_frames_stand_beside_their_tokens(mmsa: Callable, demo: Demo) -> None:
    Path("sdk.pkl").write_bytes(pickle.dumps(sequences()))
    aligned = ("--aligned", "--text-encoder", demo.encoder)
    assert mmsa("data", "convert", "sdk.pkl", "--out", "made.pkl", *aligned)[0] == 0
    train = reader.read("made.pkl")["train"]
    assert train["text_bert"].shape == (2, 3, 50)
    assert train["text_bert"][0, 1].sum() == 4  # [CLS] the good [SEP]
    # "the" has the frames of the first second, "good" those of the third; the pause is left out.
    assert train["audio"].shape == (2, 50, 4)
    assert train["audio"][0, :4, 0].tolist() == [0, 2, 18, 0]
    assert not train["audio"][0, 3:].any()
    assert mmsa("data", "check", "made.pkl", "--aligned")[0] == 0


def test_word_aligned_lists_are_read_with_pieces_of_words(mmsa: Callable, demo: Demo) -> None:
    words = ["the", "good,music"]  # two words, four tokens with the comma: [UNK] is none
    row = lambda n: ((words, np.full((2, 5), n), np.full((2, 4), -n)), np.array([[1.0]]), f"v{n}_7")  # noqa: E731
    content = {"train": [row(1), row(2)], "dev": [row(3)], "test": [row(4)]}
    Path("lists.pkl").write_bytes(pickle.dumps(content))
    aligned = ("--aligned", "--text-encoder", demo.encoder)
    status, _, err = mmsa("data", "convert", "lists.pkl", "--out", "made.pkl", *aligned)
    assert (status, err) == (0, "")
    train = reader.read("made.pkl")["train"]
    assert train["id"].tolist() == ["v1$_$7", "v2$_$7"]
    assert train["text_bert"][1, 1].sum() == 6
    assert train["vision"][1, :6, 0].tolist() == [0, 2, 2, 2, 2, 0]
    assert train["audio"][1, :6, 0].tolist() == [0, -2, -2, -2, -2, 0]


class Evil:
    def __reduce__(self) -> tuple:
        return (print, ("run",))


def itself() -> list:
    inner: list = []
    inner += [inner, inner]
    return [inner] * 9


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"train": [Evil()]}, "not a pickle of arrays"),
        ({"train": itself()}, "not a pickle of arrays"),
        ({"train": [1, 2]}, "clip 0: expected ((words, vision, audio), label, id)"),
        ({"audio": {}, "labels": {}}, "no sequence of vision; found audio, labels"),
        ({"train": 3}, "expected sequences"),
        ([1], "expected sequences"),
        (
            {**sequences(), "Opinion_Labels": {"v1": {"features": np.ones((2, 1)),
                                                      "intervals": np.ones((3, 2))}}},
            "expected a start and an end for each",
        ),
    ],
)  # fmt: skip
def test_other_pickles_are_refused_and_never_run(
    mmsa: Callable, content: Any, message: str
) -> None:
    Path("other.pkl").write_bytes(pickle.dumps(content))
    status, out, err = mmsa("data", "convert", "other.pkl", "--out", "made.pkl")
    assert (status, out) == (2, "")
    assert message in err
    assert not Path("made.pkl").exists()


def test_nested_containers_that_are_shared_cost_their_size_once() -> None:
    """Nine levels of nine references each would be a billion values."""
    shared: Any = [1.0]
    for _ in range(5):
        shared = [shared] * 9
    path = Path("shared.pkl")
    path.write_bytes(pickle.dumps(shared))
    assert safe_pickle.load(path, nested=True)[0][0][0][0][0] == [1.0]
    with pytest.raises(safe_pickle.RefusedError):
        safe_pickle.load(path)
    path.write_bytes(pickle.dumps([[[shared]]]))
    with pytest.raises(safe_pickle.RefusedError):
        safe_pickle.load(path, nested=True)


def test_a_hugging_face_data_set(mmsa: Callable) -> None:
    datasets = pytest.importorskip("datasets")
    table_of = datasets.table.InMemoryTable.from_pydict
    rows = {
        split: datasets.Dataset(fingerprint=split, arrow_table=table_of({
            "id": [f"{split}$_$0"], "text": ["good"], "label": [1.0],
            "audio": [frames(0, 4).tolist()], "vision": [frames(1, 5).tolist()],
        }))
        for split in ("train", "validation", "test")
    }  # fmt: skip
    datasets.DatasetDict(rows).save_to_disk("hub")
    status, _, err = mmsa("data", "convert", "hub", "--out", "made.pkl")
    assert (status, beside_advice(err)) == (0, "")
    valid = reader.read("made.pkl")["valid"]
    assert valid["id"].tolist() == ["validation$_$0"]
    assert np.array_equal(valid["audio"][0], frames(0, 4))


def test_a_hugging_face_data_set_without_the_library_says_so(
    mmsa: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    Path("hub").mkdir()
    Path("hub/dataset_dict.json").write_text("{}")
    status, _, err = mmsa("data", "convert", "hub", "--out", "made.pkl")
    assert status == 2
    assert "pip install datasets" in err
