"""``--json``: what verbs tell, for programs; and what a shell completes."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mmsa_suparc.data.demo import Demo


def told(mmsa: Callable, *arguments: object) -> object:
    status, out, err = mmsa(*arguments, "--json")
    assert (status, err) == (0, "")
    return json.loads(out)


def test_models(mmsa: Callable) -> None:
    rows = {row["model"]: row for row in told(mmsa, "models")}
    assert rows["suparc"]["runs"]
    assert rows["suparc"]["why_not"] is None
    assert "mosi" in rows["self_mm"]["data_sets"]
    assert all(row["runs"] != bool(row["why_not"]) for row in rows.values())


def test_datasets(mmsa: Callable, small_root: Path, demo: Demo) -> None:
    rows = {row["data_set"]: row for row in told(mmsa, "datasets", "--data-root", small_root)}
    assert rows["mosi"] == {
        "data_set": "mosi", "score_range": [-3, 3], "found": True,
        "feature_file": str(small_root / "MOSI/Processed/unaligned_50.pkl"),
    }  # fmt: skip
    assert not rows["sims"]["found"]


def test_doctor(mmsa: Callable, demo: Demo) -> None:
    content = told(mmsa, "doctor", "--text-encoder", demo.encoder)
    assert content["facts"]["text encoder"].startswith("found: ")
    assert {"name", "does", "toolkit_lines"} == set(content["repairs"][0])


def test_config(mmsa: Callable) -> None:
    content = told(mmsa, "config", "show", "-d", "mosi", "--set", "epochs=3")
    assert content["values"]["epochs"] == {"value": 3, "source": "--set"}
    assert content["values"]["seq_lens"]["source"] == "taken from the data"


def test_a_good_and_a_bad_feature_file(mmsa: Callable, demo: Demo) -> None:
    content = told(mmsa, "data", "check", demo.features, "--data-set", "demo")
    assert content["faults"] == []
    test = content["splits"]["test"]
    assert test["labels"]["clips"] == sum(test["labels"]["rounded"].values()) == 300
    assert len(test["frames"]["audio"]["quantiles"]) == 5
    status, out, err = mmsa("data", "check", demo.features, "--data-set", "sims", "--json")
    faults = json.loads(out)["faults"]
    assert status == 2
    assert {"split", "field", "expected", "found"} == set(faults[0])
    assert f"{len(faults)} fault" in err


def test_a_plan(mmsa: Callable, demo: Demo) -> None:
    command = ("bench", "quick", "--out", "out", "--dry-run")
    content = told(mmsa, *command)
    assert (content["trainings"], content["to_do"]) == (18, 18)
    assert content["seconds"] == pytest.approx(sum(row["seconds"] for row in content["cells"]))
    assert content["cells"][0]["cell"] == mmsa(*command)[1].split()[0]
    status, _, err = mmsa("bench", "quick", "--out", "out", "--json")
    assert status == 2
    assert "needs --dry-run" in err


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (("mmsa", "comp"), "completion"),
        (("mmsa", "-d", "mose"), "mosei"),
        (("mmsa", "run", "--model", "sup"), "suparc"),
        (("mmsa", "bench", "--dry"), "--dry-run"),
        (("mmsa", "data", "mak"), "make-demo"),
        (("mmsa", "bench", "rep"), "report"),
        (("mmsa", "bench", "qui"), "quick"),
        (("mmsa", "bench", "min"), "mine.yaml"),
        (("mmsa", "bench", "report", "don"), "done"),
        (("mmsa", "bench", "report", "--ref"), "--reference"),
    ],
)
def test_bash_completes(typed: tuple, offered: str, mmsa: Callable) -> None:
    Path("mine.yaml").touch()
    Path("done").mkdir()
    status, script, _ = mmsa("completion", "bash")
    assert status == 0
    script += (
        f"\nCOMP_WORDS=({' '.join(typed)}); COMP_CWORD={len(typed) - 1}; _shtab_mmsa\n"
        'echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [offered]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_verb_is_in_every_script(shell: str, mmsa: Callable) -> None:
    from mmsa_suparc.cli import VERBS

    status, script, _ = mmsa("completion", shell)
    assert status == 0
    for verb in VERBS:
        assert verb in script
    assert re.search(r"\breport [\w ]*\bquick\b", script)  # beside files, as bench's first word
