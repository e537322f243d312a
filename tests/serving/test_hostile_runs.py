"""A run folder from a stranger: refused in one line, at once, and nothing in it runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import mmsa_suparc
from mmsa_suparc.data.demo import Demo
from tests.helpers.ends_well import ends_well
from tests.helpers.hostile_runs import Hostile, hostile_runs

ALL = list(hostile_runs())


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, demo: Demo) -> Path:
    from mmsa_suparc.cli import main

    folder = tmp_path_factory.mktemp("good")
    arguments = ["-d", "demo", "-s", "1", "--epochs", "1", "--run-dir", str(folder / "run")]
    assert main([*arguments, "--res-save-dir", str(folder / "table"), "-v", "0"]) == 0
    mmsa_suparc.unregister()
    return folder / "run"


def test_there_are_as_many_as_the_documentation_says() -> None:
    assert len(ALL) == len({case.name for case in ALL}) == 149


@pytest.mark.parametrize("case", ALL, ids=[case.name for case in ALL])
def test_it_is_refused(case: Hostile, good: Path, demo: Demo, tmp_path: Path) -> None:
    shutil.copytree(good, tmp_path / "run")
    case.spoil(tmp_path / "run")
    line = ends_well(["predict", "--run", "run", "--features", demo.features], tmp_path)
    assert case.says in line
    assert not (tmp_path / "ran").exists()


def test_the_good_one_is_not(good: Path, demo: Demo, mmsa) -> None:
    status, _, err = mmsa("predict", "--run", good, "--features", demo.features, "--json")
    assert (status, err) == (0, "")
