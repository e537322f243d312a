"""The plugin template installs as a package, and its own tests pass."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from shutil import copytree

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_template_installs_and_its_tests_pass(tmp_path: Path) -> None:
    source = copytree(ROOT / "examples" / "plugin-template", tmp_path / "source")
    packages = tmp_path / "packages"
    install = [
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
        "--no-deps", "--no-build-isolation", "--no-index", "--target", packages, source,
    ]  # fmt: skip
    subprocess.run(install, check=True)
    environment = {**os.environ, "PYTHONPATH": f"{packages}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", source / "tests"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout


def test_the_page_shows_its_comparison() -> None:
    shown = (ROOT / "examples" / "plugin-template" / "compare.yaml").read_text().split("\n", 1)[1]
    assert f"```yaml\n{shown}```" in (ROOT / "docs" / "how-to" / "own-model.md").read_text()
