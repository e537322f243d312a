"""Feature files, text features, batches and the embedded data set."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mmsa_suparc.data import cache, demo, reader, text, text_states
from mmsa_suparc.data.batches import Clips, batch_places, places_by_length
from mmsa_suparc.data.files import write_atomically, write_text
from mmsa_suparc.errors import DiskError, UserError


def make_clips(count: int = 50) -> Clips:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(1, 12, (count,), generator=generator)
    mask = (torch.arange(12) < tokens[:, None]).long()
    return Clips(
        text=torch.stack([mask * 7, mask, mask * 0], dim=1),
        audio=torch.randn(count, 9, 2),
        vision=torch.randn(count, 5, 3),
        audio_lengths=torch.randint(0, 10, (count,), generator=generator),
        vision_lengths=torch.randint(1, 6, (count,), generator=generator),
        scores=torch.arange(count).float(),
        index=torch.arange(count),
    )


@pytest.mark.parametrize("by_length", [False, True])
@pytest.mark.parametrize("size", [1, 7, 16, 64])
def test_every_clip_once_an_epoch(by_length: bool, size: int) -> None:
    clips = make_clips()
    generator = torch.Generator().manual_seed(3)
    places = batch_places(clips, size, generator=generator, by_length=by_length)
    parts = [clips.take(each) for each in places]
    assert len(parts) == -(-len(clips) // size)
    assert sorted(torch.cat([part.index for part in parts]).tolist()) == list(range(50))
    for part in parts:
        assert part.text.shape[2] == int(part.text[:, 1].sum(dim=1).max())
        assert part.audio.shape[1] == max(1, int(part.audio_lengths.max()))
        assert torch.equal(part.scores, clips.scores[part.index])


def test_order_is_seeded_and_evaluation_keeps_it() -> None:
    clips = make_clips()

    def order(seed: int | None) -> list[int]:
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        return torch.cat(
            batch_places(clips, 8, generator=generator, by_length=seed is not None)
        ).tolist()

    assert order(1) == order(1) != order(2)
    assert order(None) == list(range(50))


def test_buckets_save_padding() -> None:
    clips = make_clips(400)

    def padded(by_length: bool) -> int:
        generator = torch.Generator().manual_seed(0)
        return sum(
            clips.take(places).text[:, 0].numel()
            for places in batch_places(clips, 16, generator=generator, by_length=by_length)
        )

    assert padded(True) < 0.75 * padded(False)
    sorted_places = torch.cat(places_by_length(clips, 16))
    assert sorted_places.sort().values.tolist() == list(range(400))
    assert clips.text[sorted_places, 1].sum(dim=1).diff().min() >= 0


def test_demo_is_the_same_every_time_and_well_formed(demo: demo.Demo) -> None:
    from mmsa_suparc.data import demo as recipe

    first, second = recipe.feature_file(), recipe.feature_file()
    stored = reader.read(demo.features)
    for split, count in recipe.SPLIT_SIZES.items():
        for name, value in first[split].items():
            assert np.array_equal(value, second[split][name])
            assert np.array_equal(value, stored[split][name])
            assert len(value) == count
        scores = first[split]["regression_labels"]
        assert scores.min() >= -3
        assert scores.max() <= 3
        assert len(set(first[split]["id"])) == count
    ids = [set(first[split]["id"]) for split in recipe.SPLIT_SIZES]
    assert not ids[0] & ids[1] | ids[1] & ids[2] | ids[0] & ids[2]


def test_a_file_that_is_drawn_while_it_is_written_needs_little_memory(tmp_path: Path) -> None:
    """The noise of a thousand clips, a quarter of this small file, however large the file; from
    memory it took more than twice the file."""
    program = (
        "import pickle, sys, tracemalloc\nfrom pathlib import Path\n"
        "from mmsa_suparc.data import demo\n"
        "shape = demo.Shape({'train': 3_000, 'valid': 9, 'test': 1}, audio_frames=150)\n"
        "Path('made/encoder').mkdir(parents=True)\n"
        "tracemalloc.start()\n"
        "made = demo.make_demo(Path('made'), shape)\n"
        "print(tracemalloc.get_traced_memory()[1] / made.features.stat().st_size)\n"
        "tracemalloc.stop()\n"
        "found, whole = pickle.loads(made.features.read_bytes()), demo.feature_file(shape)\n"
        "for split, fields in whole.items():\n"
        "    assert list(found[split]) == list(fields)\n"
        "    for name, array in fields.items():\n"
        "        assert found[split][name].dtype == array.dtype\n"
        "        assert found[split][name].tobytes() == array.tobytes()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 0.35


def test_the_embedded_data_set_is_what_it_was() -> None:
    from mmsa_suparc.data import demo as recipe

    digest = hashlib.sha256()
    for split, fields in recipe.feature_file({"train": 1_100, "valid": 30, "test": 1}).items():
        for name in sorted(fields):
            if fields[name].dtype.kind in "iU":  # sums of floats may differ between machines
                digest.update(f"{split} {name}".encode() + fields[name].tobytes())
    assert digest.hexdigest() == "ff89f986adc3c92598bf9858c993668174b78c6b7ebe93b0f1ce94b34924dc0f"


def test_demo_tokens_are_those_of_its_encoder(demo: demo.Demo) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(demo.encoder)
    fields = reader.read(demo.features)["valid"]
    ours = text.tokenise(tokenizer, fields["raw_text"], length=25)
    assert np.array_equal(ours, fields["text_bert"])


def test_demo_modalities_each_carry_a_part_and_some_contradict(demo: demo.Demo) -> None:
    fields = reader.read(demo.features)["train"]
    scores = fields["regression_labels"]
    for modality in ("audio", "vision"):
        frames, lengths = fields[modality], fields[f"{modality}_lengths"]
        assert len(set(lengths)) > 5
        means = frames.sum(axis=1) / lengths[:, None]
        weights, *_ = np.linalg.lstsq(means, scores, rcond=None)
        fitted = means @ weights
        assert 0.4 < np.corrcoef(fitted, scores)[0, 1] < 0.95
        opposite = (np.sign(fitted) != np.sign(scores)) & (np.abs(fitted) > 1) & (scores != 0)
        assert 0.03 < opposite.mean() < 0.2


class Payload:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("payload-ran",)


def test_a_feature_file_cannot_run_code(tmp_path: Path) -> None:
    path = tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps(Payload()))
    with pytest.raises(UserError, match="not a pickle of arrays"):
        reader.read(path)
    assert not Path("payload-ran").exists()
    pickle.loads(path.read_bytes())  # the payload does fire when it is loaded naively
    assert Path("payload-ran").is_dir()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a pickle"),
        (b"not a pickle", "not a pickle"),
        (pickle.dumps([1, 2]), "holds a list"),
        (pickle.dumps({"train": {}}), "no split 'valid'"),
    ],
)
def test_foreign_files_are_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "foreign.pkl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        reader.read(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.pkl", tmp_path):
        with pytest.raises(UserError, match="feature file"):
            reader.read(path)


def test_one_read_within_a_block(demo: demo.Demo) -> None:
    with reader.reading_once():
        assert reader.read(demo.features) is reader.read(demo.features)
    assert reader.read(demo.features) is not reader.read(demo.features)


def test_tokens_of_another_tokenizer_are_made_again(demo: demo.Demo) -> None:
    content = reader.read(demo.features)
    right = content["test"]["text_bert"]
    foreign = {s: {**f, "text_bert": f["text_bert"] * 0 + 3} for s, f in content.items()}
    assert np.array_equal(
        text.with_tokens(foreign, str(demo.encoder), "f.pkl")["test"]["text_bert"], right
    )
    absent = {s: {k: v for k, v in f.items() if k != "text_bert"} for s, f in content.items()}
    made = text.with_tokens(absent, str(demo.encoder), "f.pkl")["test"]["text_bert"]
    assert made.shape == (300, 3, 50)
    assert np.array_equal(made[:, :, :25], right)
    kept = text.with_tokens(content, str(demo.encoder), "f.pkl")
    assert kept["test"]["text_bert"] is right


def test_tokens_beyond_the_vocabulary_are_refused(demo: demo.Demo) -> None:
    content = {
        split: {"text_bert": np.full((4, 3, 6), 30_000)} for split in ("train", "valid", "test")
    }
    content["train"]["text_bert"] = np.zeros((4, 3, 6), dtype=int)
    content["valid"]["text_bert"][:2] = 0
    with pytest.raises(UserError) as told:
        text.with_tokens(content, str(demo.encoder), "f.pkl")
    message = str(told.value)
    assert message.startswith("f.pkl: valid: text_bert: expected token ids below 1")
    assert f"the vocabulary of {demo.encoder}; found 30000 in clip 2." in message
    assert "--text-encoder" in message
    with pytest.raises(UserError, match=r"f\.pkl: train: text_bert: expected this field"):
        text.with_tokens({**content, "train": {}}, str(demo.encoder), "f.pkl")


def test_text_states_are_computed_once_and_cached(
    demo: demo.Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModel

    monkeypatch.setenv("MMSA_SUPARC_CACHE", str(tmp_path / "cache"))
    content = reader.read(demo.features)
    kept = text_states.with_states(content, str(demo.encoder), demo.features)
    assert kept is content  # the file's own text has the encoder's width
    without = {s: {k: v for k, v in f.items() if k != "text"} for s, f in content.items()}
    made = text_states.with_states(without, str(demo.encoder), demo.features)["test"]["text"]
    assert made.shape == (300, 25, 64)
    model = AutoModel.from_pretrained(demo.encoder).eval()
    tokens = torch.tensor(content["test"]["text_bert"][:1]).long()
    count = int(tokens[0, 1].sum())
    with torch.inference_mode():
        alone = model(input_ids=tokens[:, 0, :count])[0][0]
    np.testing.assert_allclose(made[0, :count], alone, atol=1e-5)
    assert not made[0, count:].any()
    monkeypatch.setattr(text_states, "hidden_states", None)  # a second computation would fail
    again = text_states.with_states(without, str(demo.encoder), demo.features)["test"]["text"]
    assert np.array_equal(again, made)


def test_encoder_that_is_not_there_names_the_option(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("no-such-encoder", str(tmp_path / "absent"), str(tmp_path / "empty")):
        with pytest.raises(UserError, match="--text-encoder"):
            text.find_encoder(name)


def test_writing_is_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")

    def fail(file: object) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(DiskError, match="No space left"):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_cache_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MMSA_SUPARC_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(DiskError, match="MMSA_SUPARC_CACHE"):
        cache.cache_folder()


def test_without_a_network_a_cached_encoder_is_taken_at_once(tmp_path: Path) -> None:
    name = tmp_path / "hub" / "models--some--encoder"
    (name / "refs").mkdir(parents=True)
    (name / "refs" / "main").write_text("abc")
    shutil.copytree(demo.make_demo().encoder, name / "snapshots" / "abc")
    code = (
        "from transformers import AutoTokenizer\n"
        "from mmsa_suparc.data.text import find_encoder\n"
        "print(len(AutoTokenizer.from_pretrained(find_encoder('some/encoder'))))"
    )
    where = {"HF_HUB_CACHE": str(name.parent), "HF_ENDPOINT": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "HF_HUB_OFFLINE": "0", **where},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(done.stdout) > 10
    assert "Retrying" not in done.stderr


def test_the_chinese_data_set_has_labels_for_each_modality(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    from mmsa_suparc.data import demo as recipe

    shape = replace(recipe.SHAPES["sims"], clips={"train": 60, "valid": 5, "test": 5})
    made = recipe.make_demo(tmp_path, shape)
    assert made.features == tmp_path / "SIMS" / "Processed" / "unaligned_39.pkl"
    fields = reader.read(made.features)["train"]
    for name in ("", "_T", "_A", "_V"):
        scores = fields[f"regression_labels{name}"]
        assert np.abs(scores).max() <= 1
        assert np.allclose(scores * 5, np.round(scores * 5), atol=1e-5)
    tokenizer = AutoTokenizer.from_pretrained(made.encoder)
    tokens = text.tokenise(tokenizer, fields["raw_text"], length=39)
    assert np.array_equal(tokens, fields["text_bert"])
    assert tokenizer.unk_token_id not in tokens[:, 0]
    longest = max(len(shape.words.tokens(each)) for each in fields["raw_text"]) + 2
    assert longest <= shape.words.longest
