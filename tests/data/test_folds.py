"""Cross-validation by groups: what is cut, from what, and what cannot be."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from mmsa_suparc.data import folds
from mmsa_suparc.data.demo import feature_file
from mmsa_suparc.data.fold import Fold, fold_of
from mmsa_suparc.errors import ConfigError, UserError
from mmsa_suparc.names import SPLITS

SIZES = {"train": 120, "valid": 40, "test": 50}  # ten clips a video


def content(**sizes: int) -> dict[str, dict[str, Any]]:
    return feature_file(sizes or SIZES)


def cuts(made: dict[str, dict[str, Any]], count: int, **options: Any) -> list[dict[str, Any]]:
    """The new splits of every fold."""
    found = (Fold(number, count, **options) for number in range(1, count + 1))
    return [folds.cut(made, fold).of(made) for fold in found]


def videos(fields: dict[str, Any]) -> set[str]:
    return {str(one).split("$_$")[0] for one in fields["id"]}


@pytest.mark.parametrize("count", [2, 3, 5, 21])
def test_each_clip_is_tested_once_and_no_video_is_in_two_parts(count: int) -> None:
    made = content()
    everything = [str(one) for split in SPLITS for one in made[split]["id"]]
    tested = []
    for parts in cuts(made, count):
        tested += parts["test"]["id"].tolist()
        assert sorted(one for part in parts.values() for one in part["id"]) == sorted(everything)
        assert all(len(part["id"]) for part in parts.values())
        for one, other in (("train", "valid"), ("train", "test"), ("valid", "test")):
            assert not videos(parts[one]) & videos(parts[other])
        share = len(parts["valid"]["id"]) / (len(everything) - len(parts["test"]["id"]))
        assert 0.1 <= share <= 0.25
    assert sorted(tested) == sorted(everything)


def test_scores_are_spread_alike() -> None:
    """Videos of like scores, as speakers have them: no fold gets one kind only."""
    made = content()
    for split in SPLITS:
        numbers = [int(str(one).split("$_$")[0][-3:]) for one in made[split]["id"]]
        made[split]["regression_labels"] = np.float32([-2.0, 0.0, 2.0])[np.array(numbers) % 3]
    means = [parts["test"]["regression_labels"].mean() for parts in cuts(made, 3)]
    assert max(means) - min(means) < 0.5


def test_a_clip_keeps_all_that_is_known_of_it() -> None:
    made = content()
    made["train"]["recipe"] = made["valid"]["recipe"] = made["test"]["recipe"] = "{}"
    for split in SPLITS:
        made[split]["raw_text"] = made[split]["raw_text"].tolist()
    rows = {str(one): (split, row) for split in SPLITS for row, one in enumerate(made[split]["id"])}
    for parts in cuts(made, 2):
        for fields in parts.values():
            assert fields["recipe"] == "{}"
            for row, clip in enumerate(fields["id"]):
                split, place = rows[str(clip)]
                for name in set(fields) - {"recipe"}:
                    np.testing.assert_array_equal(fields[name][row], made[split][name][place])


def test_a_recorded_normalisation_is_of_the_fold_s_training_clips() -> None:
    """The frames as a video gives them are the same: only mean and deviation are others."""
    made = content()
    record = {"recipe": {}, "audio": {"mean": [3.0] * 12, "deviation": [2.0] * 12}}
    for split in SPLITS:
        made[split]["recipe"] = json.dumps(record)
    raw = {
        str(one): 3.0 + 2.0 * frames[:length]
        for fields in made.values()
        for one, frames, length in zip(
            fields["id"], fields["audio"], fields["audio_lengths"], strict=True
        )
    }
    vision = np.concatenate([made[split]["vision"] for split in SPLITS])
    seen = set()
    for parts in cuts(made, 2):
        found = json.loads(parts["test"]["recipe"])["audio"]
        seen.add(found["mean"][0])
        frames = np.concatenate([raw[str(one)] for one in parts["train"]["id"]])
        np.testing.assert_allclose(found["mean"], frames.mean(axis=0), atol=1e-4)
        np.testing.assert_allclose(found["deviation"], frames.std(axis=0), atol=1e-4)
        for fields in parts.values():
            for one, values, length in zip(
                fields["id"], fields["audio"], fields["audio_lengths"], strict=True
            ):
                expected = (raw[str(one)] - found["mean"]) / found["deviation"]
                np.testing.assert_allclose(values[:length], expected, atol=1e-3)
                assert not values[length:].any()
        assert sum(len(fields["vision"]) for fields in parts.values()) == len(vision)
        assert "vision" not in json.loads(parts["train"]["recipe"])
    assert len(seen) == 2


def test_the_order_of_the_clips_changes_nothing() -> None:
    made, other = content(), content()
    for split in SPLITS:
        order = np.random.default_rng(1).permutation(len(other[split]["id"]))
        other[split] = {name: value[order] for name, value in other[split].items()}
    other["train"], other["test"] = other["test"], other["train"]
    for ours, theirs in zip(cuts(made, 4), cuts(other, 4), strict=True):
        for split in SPLITS:
            assert set(ours[split]["id"]) == set(theirs[split]["id"])


def test_a_field_group_counts_before_the_ids() -> None:
    made = content()
    for split in SPLITS:
        made[split]["group"] = [f"speaker {row % 4}" for row in range(SIZES[split])]
    for parts in cuts(made, 3):
        groups = [set(part["group"]) for part in parts.values()]
        assert sum(map(len, groups)) == len(set.union(*groups)) == 4


def test_shorter_sequences_of_a_split_are_filled_up() -> None:
    made = content()
    made["valid"]["audio"] = made["valid"]["audio"][:, :20]
    made["valid"]["audio_lengths"] = made["valid"]["audio_lengths"].clip(max=20)
    parts = cuts(made, 2)[0]
    for fields in parts.values():
        assert fields["audio"].shape[1:] == made["train"]["audio"].shape[1:]
        behind = np.arange(50) >= fields["audio_lengths"][:, None]
        assert not fields["audio"][behind].any()
    made["valid"]["text_bert"] = made["valid"]["text_bert"][:, :, :20]
    with pytest.raises(UserError, match="text_bert: expected rows of one shape"):
        cuts(made, 2)


def test_a_split_outside_the_pool_is_not_looked_at() -> None:
    made = content()
    pool = ("train", "valid")
    whole = cuts(made, 3, pool=pool)
    for with_less in (whole, cuts({split: made[split] for split in pool}, 3, pool=pool)):
        clips = {str(one) for parts in with_less for one in parts["test"]["id"]}
        assert clips == {str(one) for split in pool for one in made[split]["id"]}
    assert folds.doubts(made, Fold(1, 3, pool)) == []
    made["test"]["id"] = np.array([f"train000$_${10 + row}" for row in range(SIZES["test"])])
    (doubt,) = folds.doubts(made, Fold(1, 3, pool))
    assert "1 video(s) or speaker(s) of train+validation are also in test" in doubt
    assert folds.doubts(made, Fold(1, 3)) == []  # pooled, so it does not matter


def test_clips_of_which_no_video_is_known_are_groups_of_their_own() -> None:
    made = content()
    made["train"]["id"] = made["train"]["id"].copy()
    made["train"]["id"][:7] = [f"alone-{row}" for row in range(7)]
    (doubt,) = folds.doubts(made, Fold(1, 3))
    assert "7 of 210 clips have no known video or speaker" in doubt
    cuts(made, 3)
    for split in SPLITS:
        made[split]["id"] = np.array([f"{split}-{row}" for row in range(SIZES[split])])
    (doubt,) = folds.doubts(made, Fold(1, 3))
    assert "no clip's video or speaker is known" in doubt
    assert "each clip is its own group" in doubt
    cuts(made, 3)


@pytest.mark.parametrize(
    ("sizes", "count", "message"),
    [
        ({"train": 20, "valid": 10, "test": 10}, 5, "5 folds of train+validation+test, which has "
         "4 video(s) or speaker(s); expected at least 5"),
        ({"train": 4, "valid": 3, "test": 3}, 2, "has 3 video(s)"),
    ],
)  # fmt: skip
def test_too_few_videos_are_named(sizes: dict[str, int], count: int, message: str) -> None:
    made = content(**sizes)
    if "3 video" in message:  # of which one part leaves a single video
        with pytest.raises(UserError, match=r"leaves 1 of 3 video\(s\)"):
            cuts(made, count)
        for fields in made.values():
            fields["group"] = ["one"] * len(fields["id"])
        message = "has 1 video(s) or speaker(s); expected at least 3"
    with pytest.raises(UserError) as error:
        cuts(made, count)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_other_files_that_cannot_be_cut_are_named() -> None:
    made = content()
    made["test"]["id"] = made["test"]["id"].astype(object)
    made["test"]["id"][0] = made["train"]["id"][0]
    with pytest.raises(UserError, match=r"clip 'train000\$_\$0' is twice"):
        cuts(made, 3)
    made = content()
    made["train"]["group"] = ["one"] * SIZES["train"]
    with pytest.raises(UserError, match="valid: group: expected a group for each of 40 clips"):
        cuts(made, 3)


@pytest.mark.parametrize("fold", ["3", "0/5", "6/5", "1/1", "a/b", "-1/5", "1/200", "½/5"])
def test_what_is_no_fold_is_refused(fold: str) -> None:
    with pytest.raises(ConfigError, match=r"--set: fold = .* expected K/N"):
        fold_of({"fold": fold, "pool": SPLITS}, "--set")


def test_what_is_no_pool_is_refused() -> None:
    for pool, message in (
        (["train", "tset"], "no split 'tset'; did you mean 'test'"),
        (["train", "train"], "each once"),
        ([3], "no split '3'|no split 3"),
    ):
        with pytest.raises(ConfigError, match=message):
            fold_of({"fold": "1/2", "pool": pool}, "--set")
    assert fold_of({"fold": "", "pool": list(SPLITS)}) is None
    assert fold_of({"fold": "2/5"}) == Fold(2, 5)
