"""Searching on validation: what is found serves, nothing is searched twice, test stays unseen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

from mmsa_suparc.bench.ranges import Range, read_ranges
from mmsa_suparc.config import SupArcConfig, plugin_configs
from mmsa_suparc.data.demo import Demo
from mmsa_suparc.errors import ConfigError, UserError
from mmsa_suparc.toolkit import settings
from tests.helpers.ends_well import ends_well

RANGES = {
    "learning_rate_other": {"low": 1e-4, "high": 1e-2, "log": True},
    "margin_on": {"choices": ["negatives", "none"]},
    "audio_hidden": {"low": 4, "high": 8, "kind": "int"},
}


def test_it_searches_goes_on_and_writes_what_c_takes(
    mmsa: Callable, demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmsa_suparc.runs.trainer import SupArcTrainer

    monkeypatch.setattr(SupArcTrainer, "do_test", lambda *a, **k: pytest.fail("looked at test"))
    Path("ranges.yaml").write_text(yaml.safe_dump(RANGES))
    command = ("tune", "-m", "suparc", "-d", "demo", "--epochs", 1, "--out", "tuning",
               "--ranges", "ranges.yaml", "--set", "dropout=0.2")  # fmt: skip
    status, out, err = mmsa(*command, "--trials", 2)
    assert (status, err) == (0, "")
    assert "trial 2/2" in out
    status, out, _ = mmsa(*command, "--trials", 3)
    assert status == 0
    assert "trial 3/3" in out
    assert "trial 1/3" not in out
    trials = pd.read_csv("tuning/trials.csv")
    assert len(trials) == 3
    best = yaml.safe_load(Path("tuning/best.yaml").read_text())
    assert set(best) == {*RANGES, "dropout", "epochs"}
    found = trials.loc[trials["value"].idxmin()]
    assert best["learning_rate_other"] == pytest.approx(found["params_learning_rate_other"])
    assert Path("tuning/importance.svg").stat().st_size > 1000
    status, out, _ = mmsa("config", "show", "-m", "suparc", "-d", "demo", "-c", "tuning/best.yaml")
    assert status == 0
    assert "best.yaml" in out


def test_the_first_trial_is_of_the_values_in_force(mmsa: Callable, demo: Demo) -> None:
    ranges = {"learning_rate_other": {"low": 1e-4, "high": 1e-2, "log": True},
              "margin_on": {"choices": ["negatives", "none"]}}  # fmt: skip
    Path("ranges.yaml").write_text(yaml.safe_dump(ranges))
    command = ("tune", "-d", "demo", "--epochs", 1, "--ranges", "ranges.yaml", "--trials", 1,
               "--set", "learning_rate_other=0.004")  # fmt: skip
    for margin_on, holds in (("negatives", True), ("both", False)):
        status, _, err = mmsa(*command, "--set", f"margin_on={margin_on}", "--out", margin_on)
        assert (status, err) == (0, "")
        first = pd.read_csv(f"{margin_on}/trials.csv").iloc[0]
        assert bool(first["params_learning_rate_other"] == 0.004) is holds


def test_a_range_holds_what_it_could_have_suggested() -> None:
    number, whole = Range(low=0.1, high=2), Range(low=1, high=8, kind="int")
    some = Range(choices=["add", None])
    for each, held, others in (
        (number, (0.1, 1, 2.0), (0.05, 3, None, "1", True, [1])),
        (whole, (1, 8), (2.5, 9, None)),
        (some, ("add", None), ("subtract", 1)),
    ):
        assert [value for value in (*held, *others) if each.holds(value)] == list(held)


def test_mistakes_are_named(mmsa: Callable, demo: Demo) -> None:
    Path("ranges.yaml").write_text("treshold: {low: 0, high: 1}")
    base = ("tune", "-d", "demo", "--out", "tuning")
    for arguments, message in (
        (("--ranges", "ranges.yaml"), "unknown key 'treshold'; did you mean 'threshold'"),
        (("--trials", 0), "--trials: found '0'"),
        (("-m", "lf_dnn"), "no ranges to search for model 'lf_dnn'"),
    ):
        status, _, err = mmsa(*base, *arguments)
        assert (status, message in err) == (2, True), err
    assert not Path("tuning").exists()
    Path("ranges.yaml").write_text("margin: {low: 1, high: 0}")
    with pytest.raises(ConfigError, match=r"margin = .* expected low < high"):
        read_ranges("suparc", "ranges.yaml")
    with pytest.raises(UserError, match="name a file with --ranges"):
        read_ranges("tfn", None)


def test_shipped_ranges_are_of_known_values_and_hold_the_defaults(registered: None) -> None:
    files = sorted((plugin_configs() / "tune").glob("*.yaml"))
    assert {path.stem for path in files} == {"suparc", "self_mm", "misa"}
    for path in files:
        defaults = settings.load(path.stem, "mosi").values
        if path.stem == "suparc":
            defaults = SupArcConfig().model_dump()
        for name, each in read_ranges(path.stem, None).items():
            value = defaults[name]
            assert value in each.choices if each.choices else each.low <= value <= each.high, name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "found list"),
        ("margin: 3", "margin = 3"),
        ("margin: {low: .nan, high: 1}", "finite"),
        ("margin: {low: false, high: true}", "true or false"),
        ("margin: {low: 0, high: 1, log: maybe}", "log"),
        ("margin: {choices: []}", "expected low and high, or choices"),
        ("margin: {choices: [" + "0.1, " * 1_000 + "]}", "at most 100 items"),
        ("margin: {choices: [0.1, wide]}", "margin = 'wide'"),
        ("fusion_width: {low: 16, high: 1000000000, kind: int}", "fusion_width = 1000000000.0"),
        ("fusion_width: {low: 16, high: 32}", "takes whole numbers; expected kind: int"),
        ("lstm_layers: {choices: [1, 100000]}", "lstm_layers = 100000"),
        ("a: &a [*a]", "anchor or alias"),
    ],
)
def test_hostile_ranges_end_well(text: str, message: str, tmp_path: Path, demo: Demo) -> None:
    (tmp_path / "ranges.yaml").write_text(text)
    argv = ("tune", "-d", "demo", "--out", "tuning", "--ranges", "ranges.yaml", "--trials", "1")
    assert message in ends_well(argv, tmp_path)
    assert not (tmp_path / "tuning").exists()
