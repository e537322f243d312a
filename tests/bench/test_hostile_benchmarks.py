"""Hostile benchmark files end as promised, at once and in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmsa_suparc.bench import plan
from mmsa_suparc.data.demo import Demo
from tests.helpers.ends_well import ends_well
from tests.helpers.hostile_benchmarks import GOOD, Case, cases

CASES = list(cases())


def test_there_are_as_many_as_promised() -> None:
    assert len(CASES) == len({case.name for case in CASES}) == 57


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_hostile_benchmarks_end_well(case: Case, tmp_path: Path, demo: Demo) -> None:
    case.prepare(tmp_path)
    before = sorted(tmp_path.iterdir())
    line = ends_well(["bench", "mine.yaml", "--out", "out"], tmp_path)
    assert case.word in line
    assert len(line) < 1_000
    assert line.isprintable()
    assert sorted(tmp_path.iterdir()) == before  # nothing was written


def test_the_file_that_the_hostile_ones_are_made_of_is_good(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(json.dumps(GOOD))
    assert len(plan.make_plan(plan.read(tmp_path / "mine.yaml")).cells) == 1


def test_a_file_that_is_included_twice_is_read_once(tmp_path: Path) -> None:
    for number in range(24):
        below = f"{number + 1}.yaml"
        (tmp_path / f"{number}.yaml").write_text(
            f"include: [{below}, ./{below}]\nseeds: [{number}]"
        )
    (tmp_path / "24.yaml").write_text(json.dumps(GOOD))
    file = plan.read(tmp_path / "0.yaml")
    assert (file.seeds, file.data_sets) == ([0], ["demo"])
