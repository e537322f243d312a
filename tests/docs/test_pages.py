"""What the pages say is so: numbers, code, versions."""

from __future__ import annotations

import importlib.util
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mmsa_suparc.metrics import mosi_metrics
from mmsa_suparc.version import __version__

ROOT = Path(__file__).resolve().parents[2]


def blocks(page: Path, language: str) -> list[str]:
    found = re.findall(rf"^( *)```{language}\n(.*?)```", page.read_text(), re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


def test_ten_clips_by_hand_have_the_numbers_of_the_program() -> None:
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text()

    def row(name: str) -> list[float]:
        (cells,) = re.findall(rf"^\| {name} \|(.*)\|$", page, re.MULTILINE)
        return [float(cell) for cell in cells.split("|")]

    scores, predictions = row("score"), row("prediction")
    assert len(scores) == len(predictions) == 10
    measured = mosi_metrics(predictions, scores)
    by_hand = dict(re.findall(r"^\| (\w+) \| (\d\.\d{4}) \|$", page, re.MULTILINE))
    assert {name: f"{value:.4f}" for name, value in measured.items()} == by_hand
    errors = [abs(one - other) for one, other in zip(predictions, scores, strict=True)]
    assert row("absolute error") == pytest.approx(errors)
    for classes, bound in ((7, 3), (5, 2)):
        for name, values in (("score", scores), ("prediction", predictions)):
            rounded = [float(round(min(max(value, -bound), bound))) for value in values]
            assert row(f"{name}, {classes} classes") == rounded
    exchanged = 0.5 * 6 / 9 + 0.5 * 8 / 11
    assert f"{exchanged:.4f}" in page


@pytest.mark.parametrize(
    "page", ["reference/metrics.md", "explanation/seam.md", "how-to/own-data.md"]
)
def test_python_in_the_pages_runs(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks(ROOT / "docs" / page, "python")
    exec(code, {})
    if page == "explanation/seam.md":
        assert capsys.readouterr().out.strip() in (ROOT / "docs" / page).read_text()
    if page == "how-to/own-data.md":
        from mmsa_suparc.cli import main

        assert pickle.loads(Path("mine.pkl").read_bytes()).keys() == {"train", "valid", "test"}
        assert main(["data", "check", "mine.pkl", "--data-set", "custom"]) == 0


def prose(page: Path) -> list[str]:
    """The page's lines without blocks of code, tables, pictures and formulas."""
    text = re.sub(r"(?ms)^( *)(```|~~~).*?^\1\2 *$", "", page.read_text())
    return [line for line in text.splitlines() if not line.lstrip().startswith(("|", "![", "$$"))]


def test_lines_of_prose_fit_a_window() -> None:
    pages = [ROOT / "README.md", ROOT / "README.zh-CN.md", *(ROOT / "docs").rglob("*.md")]
    lines = [
        (page.name, line)
        for page in pages
        if "results" not in page.parts  # written by the study
        for line in prose(page)
    ]
    assert len(lines) > 1_500
    assert [(name, line) for name, line in lines if len(line) > 120] == []


def test_chinese_pages_have_the_same_commands() -> None:
    for name in ("index", "faq"):
        ours, theirs = (ROOT / "docs" / f"{place}{name}.md" for place in ("zh/", ""))
        assert len(blocks(theirs, "sh")) > 3
        assert blocks(ours, "sh") == blocks(theirs, "sh")


def test_every_question_has_a_command() -> None:
    questions = (ROOT / "docs" / "faq.md").read_text().split("\n### ")[1:]
    assert len(questions) >= 20
    for question in questions:
        assert "```sh" in question, question.splitlines()[0]


def test_one_version_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__
    assert f"version = {{{__version__}}}" in (ROOT / "docs" / "project" / "citing.md").read_text()
    assert f"## {__version__} " in (ROOT / "CHANGELOG.md").read_text()


def test_on_a_package_index_every_link_of_the_readme_leads_to_the_repository() -> None:
    spec = importlib.util.spec_from_file_location("page", ROOT / ".github" / "package_page.py")
    assert spec is not None
    assert spec.loader is not None
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    text = page.absolute((ROOT / "README.md").read_text(), "https://forge.test/us/it", "v1")
    targets = re.findall(r"\]\(([^)]+)\)", text)
    assert len(targets) > 20
    assert all(target.startswith(("https://", "#")) for target in targets)
    assert "![training curves](https://forge.test/us/it/raw/v1/docs/images/" in text
    setup = page.with_addresses((ROOT / "setup.cfg").read_text(), "https://forge.test/us/it")
    assert "project_urls =\n    Source = https://forge.test/us/it\n" in setup


def test_the_container_file_is_linted() -> None:
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if linter is None:
        pytest.skip("no hadolint here (extra: dev)")
    text = (ROOT / "Dockerfile").read_text()
    assert "USER 1000" in text
    done = subprocess.run(
        [linter, ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_workflows_and_forms_are_yaml_and_need_no_secret() -> None:
    files = [*(ROOT / ".github").rglob("*.yml"), ROOT / ".pre-commit-config.yaml"]
    assert len(files) >= 7
    for file in files:
        assert yaml.safe_load(file.read_text())
        assert "secrets." not in file.read_text()
