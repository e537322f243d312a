"""The installed package: its model is announced, trains, and learns."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[1]


def mmsa(*arguments: object) -> str:
    command = [sys.executable, "-m", "mmsa_suparc", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_it_is_listed() -> None:
    assert "gated" in mmsa("models")


def test_it_trains_on_the_embedded_data_set(tmp_path: Path) -> None:
    mmsa("-m", "gated", "-d", "demo", "-s", 1, "--epochs", 4, "--run-dir", tmp_path / "run")
    results = pd.read_csv(tmp_path / "run" / "results.csv")
    assert results["MAE"].item() < 1.1  # the training mean has 1.4


def test_it_can_be_compared(tmp_path: Path) -> None:
    plan = mmsa("bench", ROOT / "compare.yaml", "--out", tmp_path / "compared", "--dry-run")
    assert plan.count("(gated)") == 6
    assert "9 trainings" in plan


def test_a_wrong_value_is_refused() -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        mmsa("-m", "gated", "-d", "demo", "--set", "hidden=many")
    assert "hidden" in refused.value.stderr
