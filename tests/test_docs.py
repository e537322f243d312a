"""The documents say what is: every repair is listed, code runs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mmsa_suparc.cli import VERBS
from mmsa_suparc.config import SupArcConfig, plugin_configs
from mmsa_suparc.plugin import PATCHES

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    found = re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)
    assert found
    return found


def test_make_targets_in_the_readme_exist() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    named = re.findall(r"make ([a-z-]+)", "\n".join(blocks("sh")))
    assert set(named) == {"demo", "test", "bench"}
    assert set(named) <= set(targets)


def test_speeds_in_the_readme_are_those_measured() -> None:
    results = (ROOT / "benchmarks" / "RESULTS.md").read_text()
    measured = re.findall(r"\| ([0-9.]+) \| [^|]+ \|$", results, re.MULTILINE)
    section = README.split("## Speed")[1].split("\n## ")[0]
    quoted = [
        ratio
        for cell in re.findall(r"^\| [^|]+ \| ([0-9., ]+) \|", section, re.MULTILINE)
        for ratio in cell.split(", ")
    ]
    assert len(quoted) == 14
    assert set(quoted) <= set(measured)


def test_the_error_in_the_readme_is_the_real_one(mmsa: Callable) -> None:
    shown = next(block for block in blocks("sh") if block.startswith("$ "))
    command, expected = shown.strip().split("\n")
    _, _, err = mmsa(*shlex.split(command.removeprefix("$ "))[1:])
    assert err.strip() == expected


@pytest.mark.parametrize(
    "start",
    [
        "import mmsa_suparc\nfrom",
        "import mmsa_suparc\n\n",
        "import torch",
        "from mmsa_suparc import b",
    ],
)
def test_python_in_the_readme_runs(start: str, demo: object) -> None:
    (code,) = [block for block in blocks("python") if block.startswith(start)]
    import mmsa_suparc
    from mmsa_suparc.toolkit import registry, settings
    from tests.helpers.toy import ToyModel, ToyTrainer

    # One epoch is enough here: the demo's own test is the command's.
    code = code.replace("epochs=4", "epochs=1")
    code = code.replace("num_workers=0", "num_workers=0, config={'epochs': 1}, verbose_level=0")
    try:
        exec(code, {"MyModel": ToyModel, "MyTrainer": ToyTrainer})
        if "MMSA_run" in code:
            assert (Path.home() / "MMSA/results/normal/demo.csv").is_file()
        if "register_model" in code:
            assert "mine" in settings.model_names()
    finally:
        mmsa_suparc.unregister()
        if "mine" in registry.registered():
            mmsa_suparc.unregister_model("mine")


def test_every_repair_is_documented_with_its_lines() -> None:
    document = (ROOT / "docs" / "toolkit-repairs.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (.*) \|$", document, flags=re.MULTILINE))
    assert set(rows) == {patch.name for patch in PATCHES}
    for patch in PATCHES:
        for file in re.findall(r"[\w/]+\.py", patch.answers):
            assert file in rows[patch.name], (patch.name, file)


def test_every_verb_and_exit_status_is_in_the_readme() -> None:
    for verb in VERBS:
        assert verb == "run" or f"`mmsa {verb}" in README


def test_every_default_of_the_method_gives_its_reason() -> None:
    lines = (plugin_configs() / "suparc.yaml").read_text().split("datasets:")[0].splitlines()
    for key in ("threshold", "margin", "margin_on", "margin_sign", "temperature",
                "weight_suparc", "weight_triplet", "triplet_margin"):  # fmt: skip
        assert key in SupArcConfig.model_fields
        line = next(line for line in lines if line.strip().startswith(f"{key}:"))
        assert re.search(r"# .*(measured|starting point|literature|engineering)", line), line


def test_files_mention_the_folders_that_exist() -> None:
    tree = (ROOT / "docs" / "architecture.md").read_text()
    for name in re.findall(r"^  ([a-z_]+(?:\.py|/))", tree, flags=re.MULTILINE):
        assert (ROOT / "mmsa_suparc" / name).exists(), name


def test_the_chinese_readme_is_in_step() -> None:
    chinese = (ROOT / "README.zh-CN.md").read_text()

    def sections(text: str) -> list[str]:
        return re.findall(r"^(#+) ", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)

    def code(text: str) -> list[str]:
        return re.findall(r"```\w+\n.*?```", text, flags=re.DOTALL)

    def rows(text: str) -> list[list[str]]:
        """Of each table, what no translation changes: names in code, and numbers."""
        tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
        return [
            re.findall(r"`[^`]+`|\d[\d.,]*\d", line)
            for table in tables
            for line in table.splitlines()
        ]

    def targets(text: str) -> set[str]:
        found = set(re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text))
        return found - {"README.md", "README.zh-CN.md", "docs/index.md", "docs/zh/index.md"}

    assert len(sections(README)) > 12
    assert sections(chinese) == sections(README)
    assert len(code(README)) > 15
    assert code(chinese) == code(README)
    assert len(rows(README)) > 35
    assert len(rows(chinese)) == len(rows(README))
    for ours, theirs in zip(rows(chinese), rows(README), strict=True):
        assert sorted(ours) == sorted(theirs)
    assert targets(chinese) == targets(README)
    for target in targets(README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_links_within_the_readme_lead_to_its_sections(name: str) -> None:
    text = (ROOT / name).read_text()
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    linked = re.findall(r"\]\(#([^)]+)\)", text)
    assert linked
    assert set(linked) <= anchors


def test_figures_of_the_study_are_those_of_its_tables() -> None:
    study = ROOT / "docs" / "results" / "study"
    files = [*study.glob("*/tables/*.md"), *study.glob("*/*.csv")]
    measured = set(re.findall(r"\d+\.\d+", "\n".join(path.read_text() for path in files)))
    section = README.split("## What is shown on real clips")[1].split("\n## ")[0]
    for text in ((ROOT / "docs" / "results" / "README.md").read_text(), section):
        quoted = re.findall(r"(?<![\d.])\d\.\d{3,}", text)
        assert quoted
        rounded = {f"{float(figure):.{digits}f}" for figure in measured for digits in (3, 4)}
        assert set(quoted) <= measured | rounded


@pytest.mark.slow
@pytest.mark.parametrize(("part", "count"), [("confirm", 7), ("test", 7), ("ablation", 3)])
def test_the_study_s_tables_come_back_from_what_is_kept_of_its_trainings(
    part: str, count: int, mmsa: Callable
) -> None:
    study = ROOT / "docs" / "results" / "study"
    script, kept = study / "outcomes.py", sorted((study / part).glob("*.tar.xz"))
    subprocess.run([sys.executable, script, "unpack", *kept, "again"], check=True)
    status, out, err = mmsa("bench", "report", "again")
    assert (status, err) == (0, ""), out
    tables = list((study / part / "tables").iterdir())
    assert len(tables) == count
    for table in tables:
        assert Path("again", "tables", table.name).read_text() == table.read_text(), table.name
