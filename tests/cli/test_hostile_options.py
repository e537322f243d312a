"""Hostile options and configuration files end as promised, at once and in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmsa_suparc.cli import VERBS
from mmsa_suparc.data.demo import Demo
from tests.helpers.command import Command
from tests.helpers.ends_well import ends_well
from tests.helpers.hostile_options import Case, cases

CASES = list(cases())


def test_there_are_as_many_as_promised() -> None:
    assert len(CASES) == 124
    assert len({(*case.argv, case.file) for case in CASES}) == 124


@pytest.mark.parametrize("case", CASES, ids=lambda case: ascii(case.name))
def test_hostile_options_end_well(case: Case, tmp_path: Path, demo: Demo) -> None:
    case.prepare(tmp_path)
    before = sorted(tmp_path.iterdir())
    line = ends_well(case.argv, tmp_path, case.status)
    assert case.word in line
    assert len(line) < 1_000
    assert line.isprintable()
    assert sorted(tmp_path.iterdir()) == before  # nothing was written


def test_what_does_not_end_well_is_seen(tmp_path: Path, demo: Demo) -> None:
    for argv, status, message in (
        (("--help",), 0, "0 lines"),
        (("nonsense",), 3, "2: mmsa: unknown command"),
        (("config", "show", "-d", "demo"), 2, ": 0: "),
    ):
        with pytest.raises(AssertionError, match=message):
            ends_well(argv, tmp_path, status)
    with Command("data", "make-demo", "--out", tmp_path, "--clips", 30_000, 1, 1) as command:
        command.wait(60)
    assert command.cost.seconds > 0.2
    assert command.cost.mebibytes > 10


@pytest.mark.parametrize("verb", ["", *VERBS], ids=str)
def test_every_help_prints_on_an_ascii_terminal(verb: str) -> None:
    with Command(*filter(None, [verb]), "--help", encoding="ascii") as command:
        assert command.wait(60) == 0
    assert command.out.isascii()
    assert "usage: mmsa" in command.out
    assert command.err == ""


@pytest.mark.parametrize(
    "line",
    ["doctor", "models", "datasets", "config show -d demo", "run -d demo --set margin=µ",
     "bench quick --out out --dry-run", "data check absent-µ.pkl", "nonsense-µ"],
)  # fmt: skip
def test_every_table_and_message_prints_on_an_ascii_terminal(line: str, demo: Demo) -> None:
    with Command(*line.split(), encoding="ascii") as command:
        assert command.wait(60) in (0, 2)
    assert (command.out + command.err).isascii()
    assert "Error" not in command.err


def test_a_run_prints_on_an_ascii_terminal(demo: Demo) -> None:
    argv = ("-d", "demo", "--epochs", "1", "--run-dir", "räume", "--res-save-dir", "out")
    with Command(*argv, encoding="ascii") as command:
        assert command.wait(120) == 0, command.err
    assert "r\\xe4ume" in command.out
    assert Path("räume/results.csv").is_file()
