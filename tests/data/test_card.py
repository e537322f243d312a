"""Data cards: what a file holds, and what its splits share."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mmsa_suparc.data import card, near_duplicates, releases
from mmsa_suparc.data.demo import feature_file


def write(content: dict, name: str = "clips.pkl") -> Path:
    path = Path(name)
    path.write_bytes(pickle.dumps(content))
    return path


def test_a_card_says_what_the_file_holds_and_what_its_splits_share(mmsa: Callable) -> None:
    content = feature_file({"train": 60, "valid": 20, "test": 20})
    said = "nobody expected the ending of this film , and i was glad to see it"
    content["train"]["raw_text"] = np.array([f"clip {n} {n * n}" for n in range(59)] + [said])
    content["test"]["raw_text"] = np.array([f"other {n}" for n in range(19)] + [said.upper() + "!"])
    content["valid"]["audio"][3] = content["train"]["audio"][7]
    content["valid"]["audio_lengths"][3] = content["train"]["audio_lengths"][7]
    path = write(content)
    status, out, err = mmsa("data", "card", path)
    assert (status, err) == (0, "")
    page = Path("clips.pkl.card.md").read_text()
    assert hashlib.sha256(path.read_bytes()).hexdigest() in page
    assert "60 × 50 × 12" in page
    assert "none of the published files" in page
    rows = [line.split(" | ") for line in page.splitlines() if "train" in line]
    shared = {(row[0].strip("| "), row[1]): (row[2], row[3].strip(" |")) for row in rows
              if row[1].startswith("train, ")}  # fmt: skip
    assert shared["pairs of nearly the same text", "train, test"][0] == "1"
    found, example = shared["pairs of nearly the same audio", "train, valid"]
    assert found == "1"
    assert f"{content['train']['id'][7]} – {content['valid']['id'][3]} (1.00)" in example
    assert shared["clips of the same id", "train, test"][0] == "0"
    assert shared["videos (or speakers)", "train, test"][0] == "0"
    assert "train and test share 1 pairs of nearly the same text" in out
    picture = Path("clips.pkl.card.svg").read_text()
    assert "clips.pkl.card.svg" in page
    assert picture.startswith("<?xml")
    assert "<svg" in picture


def test_words_of_a_file_do_not_break_the_page(mmsa: Callable) -> None:
    content = feature_file({"train": 6, "valid": 2, "test": 2})
    content["test"]["id"] = content["train"]["id"][:2] = np.array(["a|b\n# c$_$1", "d$_$1"])
    assert mmsa("data", "card", write(content), "--out", "page.md")[0] == 0
    page = Path("page.md").read_text()
    assert "a\\|b # c$_$1" in page
    assert "\n# c" not in page


@pytest.mark.parametrize(
    ("file", "out", "message"),
    [
        ("absent.pkl", "a.md", "absent.pkl: No such file"),
        ("clips.pkl", "clips.pkl", "is the feature file"),
        ("clips.pkl", "a.svg", "expected a file for the page"),
        ("broken.pkl", "a.md", "regression_labels"),
    ],
)
def test_mistakes_are_named(mmsa: Callable, file: str, out: str, message: str) -> None:
    content = feature_file({"train": 4, "valid": 2, "test": 2})
    write(content)
    del content["test"]["regression_labels"]
    write(content, "broken.pkl")
    status, _, err = mmsa("data", "card", file, "--out", out)
    assert status == 2
    assert message in err
    assert not Path("a.md").exists()


def test_near_duplicates_are_those_that_a_slow_search_finds() -> None:
    rng = np.random.default_rng(0)
    words = np.array([f"word{n}" for n in range(40)])
    ours = [" ".join(rng.choice(words, 8)) for _ in range(300)]
    theirs = [f"{text} and" for text in ours[::10]] + [" ".join(rng.choice(words, 8))]
    found = near_duplicates.alike_texts([*ours, "yes"], [*theirs, "yes"])

    def grams(text: str) -> set[str]:
        letters = text.replace(" ", "")
        return {letters[n : n + 3] for n in range(len(letters) - 2)}

    expected = {
        (i, j): len(grams(a) & grams(b)) / len(grams(a) | grams(b))
        for i, a in enumerate(ours)
        for j, b in enumerate(theirs)
    }
    expected = {pair: index for pair, index in expected.items() if index >= near_duplicates.ALIKE}
    assert len(expected) >= 30
    assert {(p.one, p.other): p.alike for p in found} == pytest.approx(expected, abs=1e-6)


def test_silence_and_constant_values_are_no_duplicates() -> None:
    frames = np.zeros((3, 4, 2))
    frames[0] = 1.0
    found = near_duplicates.signatures(frames, np.array([4, 4, 0]))
    assert np.isnan(found[1:]).all()
    assert near_duplicates.alike_sounds(found, found, np.zeros(4)) == []
    assert [p[:2] for p in near_duplicates.alike_sounds(found, found, np.ones(4))] == [(0, 0)]


def test_a_published_file_is_known_by_its_checksum(
    mmsa: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(feature_file({"train": 4, "valid": 2, "test": 2}))
    assert releases.release_of(path) == ""
    assert "this is" not in mmsa("data", "check", path)[1]
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(releases.RELEASES, checksum, "MOSI/Processed/unaligned_50.pkl")
    expected = "no fault found; this is the MMSA release of MOSI, unaligned_50"
    assert expected in mmsa("data", "check", path)[1]
    assert card.make_card(path).release == "the MMSA release of MOSI, unaligned_50"
    assert all(len(known) == 64 for known in releases.RELEASES)
