"""Searching by cross-validation: goes on, leaves test unseen, says how flattered its winner is."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
import yaml

from mmsa_suparc.bench import fold_tuning
from mmsa_suparc.bench.fold_tuning import Finalist, Found
from mmsa_suparc.config import SupArcConfig
from mmsa_suparc.data.demo import Demo, feature_file
from tests.helpers.command import Command

SIZES = {"train": 40, "valid": 30, "test": 20}
FLATTERED = r"[\d.]+ with fresh seeds: (flattered by [\d.]+|not flattered)\n"


@pytest.fixture
def command(demo: Demo) -> tuple[object, ...]:
    content = feature_file(SIZES)
    for fields in content.values():
        del fields["text"]
    content["test"]["regression_labels"] = np.full(SIZES["test"], 77.0)  # nobody is to see it
    Path("features.pkl").write_bytes(pickle.dumps(content))
    Path("ranges.yaml").write_text(
        yaml.safe_dump({"learning_rate_other": {"low": 1e-4, "high": 1e-2, "log": True}})
    )
    return ("tune", "-m", "suparc", "-d", "custom", "--features", "features.pkl", "--text-encoder",
            demo.encoder, "--epochs", 1, "--out", "tuning", "--ranges", "ranges.yaml",
            "--folds", 2, "--fresh-seeds", 1)  # fmt: skip


def test_a_killed_search_goes_on_and_chooses_by_fresh_seeds(
    mmsa: Callable, command: tuple[object, ...]
) -> None:
    with Command(*command, "--trials", 2) as started:
        started.until("trial 1/2")
        started.kill()
        started.wait()
    first = re.search(r"trial 1/2: MAE ([\d.]+)", started.out)
    assert first, started.err
    status, out, err = mmsa(*command, "--trials", 2)
    assert (status, err) == (0, "")
    assert "trial 1/2" not in out
    assert out.count("final: MAE") == 2
    assert re.search(FLATTERED, out)
    assert re.search(r"the values in force, trial \d: MAE [\d.]+ with fresh seeds; ", out)

    trials = pd.read_csv("tuning/trials.csv")
    done = trials[trials["value"].notna()]
    assert set(done["state"]) == {"COMPLETE"}
    assert len(done) == 2
    assert done["params_learning_rate_other"].iloc[0] == SupArcConfig().learning_rate_other
    assert done["value"].iloc[0] == pytest.approx(float(first[1]), abs=1e-4)
    top = pd.read_csv("tuning/top.csv")
    assert list(top["in_search"]) == sorted(top["in_search"])
    chosen = top[top["chosen"]]
    assert list(chosen["trial"]) == [top.loc[top["fresh_seeds"].idxmin(), "trial"]]
    text = Path("tuning/best.yaml").read_text()
    assert re.search(FLATTERED, text)
    assert "2-fold cross-validation over train+validation, seeds 1111; fresh seeds 1112" in text
    best = yaml.safe_load(text)
    assert best["learning_rate_other"] == pytest.approx(chosen["learning_rate_other"].iloc[0])

    # All is there: nothing is trained again.
    status, out, _ = mmsa(*command, "--trials", 2)
    assert status == 0
    assert "trial " not in out.split("the search's winner")[0]
    assert "final:" not in out


@pytest.mark.slow
def test_a_trial_that_was_begun_and_never_signed_is_not_waited_for(
    mmsa: Callable, command: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fold_tuning, "DEAD_AFTER", 1)
    assert mmsa(*command, "--trials", 1)[0] == 0
    storage = "sqlite:///tuning/trials.db"
    (name,) = (n for n in optuna.get_all_study_names(storage) if not n.endswith("-finals"))
    optuna.load_study(study_name=name, storage=storage).ask()  # and a kill
    status, out, err = mmsa(*command, "--trials", 2)
    assert (status, err) == (0, "")
    assert "trial 3/2" in out
    assert list(pd.read_csv("tuning/trials.csv")["state"]).count("COMPLETE") == 2


def test_a_model_of_the_toolkit_is_searched_likewise(
    mmsa: Callable, command: tuple[object, ...]
) -> None:
    Path("ranges.yaml").write_text("learning_rate: {choices: [0.001, 0.01]}")
    status, out, err = mmsa(*command, "-m", "lf_dnn", "--seeds", 2, "--trials", 1)
    assert (status, err) == (0, "")
    assert "trial 1/1: MAE" in out
    assert "seeds 1111, 1112; fresh seeds 1113" in Path("tuning/best.yaml").read_text()


def test_five_folds_of_the_embedded_data_set(mmsa: Callable, demo: Demo) -> None:
    Path("ranges.yaml").write_text("learning_rate: {choices: [0.001, 0.01]}")
    status, _, err = mmsa(
        "tune", "-m", "lf_dnn", "-d", "demo", "--epochs", 1, "--out", "tuning", "--ranges",
        "ranges.yaml", "--folds", 5, "--fresh-seeds", 1, "--trials", 1,
    )  # fmt: skip
    assert (status, err) == (0, "")
    assert "5-fold cross-validation over train+validation" in Path("tuning/best.yaml").read_text()


@pytest.mark.slow
def test_machines_that_share_a_storage_share_the_trials(
    tmp_path: Path, command: tuple[object, ...]
) -> None:
    here = ("--storage", f"sqlite:///{tmp_path / 'shared.db'}", "--trials", 5)
    with Command(*command, *here) as first:
        first.until("trial 1/5")  # the tables are there
        with Command(*command, *here, "--out", "other") as second:
            assert (second.wait(), first.wait()) == (0, 0), second.err + first.err
            trials = {}
            for command_, name in ((first, "tuning"), (second, "other")):
                assert re.search(FLATTERED, command_.out)
                trials[name] = re.findall(r"trial (\d+)/5", command_.out)
    assert all(trials.values())  # both took part
    together = [number for part in trials.values() for number in part]
    assert len(set(together)) == len(together)
    assert 5 <= len(together) <= 6  # one may have begun while the fifth ended
    assert Path("tuning/best.yaml").read_text() == Path("other/best.yaml").read_text()
    table = pd.read_csv("tuning/trials.csv")
    assert table["params_learning_rate_other"].is_unique


def test_mistakes_are_named(mmsa: Callable, command: tuple[object, ...]) -> None:
    for arguments, message in (
        (("--folds", 8), "8 folds of train+validation, which has 7 video(s)"),
        (("--folds", 1), "--folds: found '1'"),
        (("--pool", "train,dev"), "--pool: pool: no split 'dev'"),
    ):
        status, _, err = mmsa(*command, *arguments)
        assert (status, message in err) == (2, True), err
    status, _, err = mmsa("tune", "-d", "demo", "--out", "tuning", "--seeds", 3)
    assert (status, "--seeds: needs --folds" in err) == (2, True)
    assert not Path("tuning").exists()


def test_flattery_is_of_the_search_s_winner() -> None:
    lucky = Finalist(3, {}, searched=0.90, fresh=0.95)
    steady = Finalist(7, {}, searched=0.91, fresh=0.92)
    found = Found("MAE", (lucky, steady), steady)
    assert found.flattered == pytest.approx(0.05)
    assert found.in_words[0].endswith(
        "trial 4: MAE 0.9000 in the search, 0.9500 with fresh seeds: flattered by 0.0500"
    )
    assert "trial 8: MAE 0.9200, the best of 2" in found.in_words[1]
    assert len(found.in_words) == 2
    begun = Finalist(0, {}, searched=0.94, fresh=0.93)
    words = Found("MAE", (lucky, steady, begun), steady, begun).in_words[2]
    assert words == (
        "the values in force, trial 1: MAE 0.9300 with fresh seeds; these are better by 0.0100"
    )
    words = Found("MAE", (lucky, begun), begun, begun).in_words[2]
    assert words.endswith("MAE 0.9300 with fresh seeds; none is better")
    assert (
        Found("MAE", (begun,), begun).in_words[0].endswith("0.9300 with fresh seeds: not flattered")
    )
    better = Found("Corr", (Finalist(0, {}, searched=0.7, fresh=0.6),), lucky)
    assert better.flattered == pytest.approx(0.1)
