"""``-d custom --features FILE``: every command that takes a data set takes one's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mmsa_suparc.data.demo import Demo
from mmsa_suparc.data.text import TOKENS, surely_cut


@pytest.fixture(scope="module")
def own(small_root: Path) -> Path:
    return small_root / "MOSI" / "Processed" / "unaligned_50.pkl"


def test_it_trains_is_shown_tuned_and_compared(
    mmsa: Callable, own: Path, demo: Demo, tmp_path: Path
) -> None:
    data = ("-d", "custom", "--features", own, "--data-name", "mine")
    status, out, _ = mmsa("config", "show", *data, "--score-range", "-4", "4")
    assert status == 0
    assert "[-4.0, 4.0]" in out
    assert "command line" in out
    small = ("--text-encoder", demo.encoder, "--epochs", "1")
    run = ("-s", "1", "--run-dir", "run", "--res-save-dir", "table")
    assert mmsa("-m", "suparc", *data, *small, *run)[0] == 0
    assert (tmp_path / "table" / "normal" / "mine.csv").is_file()
    assert mmsa("tune", *data, *small, "--trials", "1", "--out", "tuning")[0] == 0
    assert (tmp_path / "tuning" / "best.yaml").is_file()
    (tmp_path / "two.yaml").write_text("variants: {SupArc: {model: suparc}, lf_dnn: {}}\n")
    status, _, err = mmsa("bench", "two.yaml", *data, *small, "-s", "1", "--out", "bench")
    assert status == 0, err
    assert json.loads((tmp_path / "bench" / "summary.json").read_text())


def test_data_check_has_its_range(mmsa: Callable, own: Path) -> None:
    check = ("data", "check", own, "-d")
    assert mmsa(*check, "custom")[0] == 0
    assert mmsa(*check, "custom", "--score-range", "-9", "9")[0] == 0
    status, _, err = mmsa(*check, "custom", "--score-range", "-0.5", "0.5")
    assert status == 2
    assert "0.5" in err
    status, _, err = mmsa(*check, "mosi", "--score-range", "-9", "9")
    assert status == 2
    assert "--data-set custom" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-d", "custom", "--features", "absent.pkl"), "--features absent.pkl: no such file"),
        (("-d", "custom", "--data-name", "a/b"), "--data-name a/b: it names files"),
        (("config", "show", "-d", "mosi", "--metrics", "sims"), "--metrics is for data of one's"),
        (("bench", "quick", "--out", "b", "--data-name", "x"), "--data-name is for data of one's"),
    ],
)
def test_mistakes_are_one_line(mmsa: Callable, arguments: tuple[str, ...], message: str) -> None:
    status, _, err = mmsa(*arguments)
    assert status == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("it's " * 24, False),
        ("word " * (TOKENS - 2), False),
        ("word " * (TOKENS - 1), True),
        ("好" * (TOKENS - 2), False),
        ("好看, " * 25, True),
        ("", False),
    ],
)
def test_a_text_longer_than_the_tokens_is_known(text: str, cut: bool) -> None:
    assert surely_cut(text) is cut
