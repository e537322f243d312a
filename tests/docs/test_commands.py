"""Every command of the pages is run here, page by page in one folder, or stands below with why not.

A training is given one epoch. What the pages call DATA, ENCODER, FILE and so on lies in the folder
under that very name.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pickle
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from mmsa_suparc.cli import verb_of
from mmsa_suparc.data.demo import Demo

ROOT = Path(__file__).resolve().parents[2]
FIRST = ("README.md", "docs/index.md", "docs/how-to/own-data.md")
#: Run by what stands in another file: the command or a pattern of it, the file, words of that file.
ELSEWHERE = {
    "make demo": (".ci/run", "make demo"),
    "make test": (".ci/run", "make test"),
    "make docs": (".github/workflows/docs.yml", "make docs"),
    "pip install *": (".ci/run", "-m pip install"),
    "python3.11 -m venv .venv-fet": ("Makefile", "-m venv $(FET)"),
    ".venv-fet/bin/pip install *": ("Makefile", "constraints-fet.txt"),
    "export MMSA_FET_PYTHON=*": ("Makefile", "MMSA_FET_PYTHON="),
    "export MMSA_DATA_ROOT=*": ("tests/toolkit/test_patches.py", 'setenv("MMSA_DATA_ROOT"'),
    "python -m pytest tests": ("tests/docs/test_plugin_template.py", '"pytest"'),
    "mmsa bench *compare.yaml *": ("examples/plugin-template/tests/test_gated.py", '"bench"'),
    "mmsa -m gated *": ("examples/plugin-template/tests/test_gated.py", "gated"),
    "mmsa extract *": ("tests/videos/test_fet.py", '"extract"'),
    "mmsa predict --run * --video *": ("tests/videos/test_fet.py", '"--video"'),
    "mmsa predict --run * --csv *": ("tests/videos/test_fet.py", '"--csv"'),
    "mmsa app --run *": ("tests/serving/test_app.py", '"app"'),
    "mmsa export --run *": ("tests/serving/test_export.py", '"export"'),
    "mmsa bench quick --out bench": (".ci/run", "mmsa bench quick --variant lf_dnn"),
    "mmsa bench report *": ("tests/bench/test_live_report.py", '"report"'),
    "python docs/results/study/outcomes.py unpack *": ("tests/test_docs.py", '"unpack"'),
    "mmsa data convert *": ("tests/data/test_convert.py", '"convert"'),
    "mmsa bench * --power *": ("tests/bench/test_power.py", '"--power"'),
    "mmsa tune * --folds *": ("tests/bench/test_fold_tuning.py", '"--folds"'),
    "torchrun *": ("tests/training/test_processes.py", "torch.distributed.run"),
    "ray *": ("tests/helpers/ray_nodes.py", "add_node"),
    "* --executor ray *": ("tests/bench/test_ray.py", '"ray"'),
    "* --executor slurm *": ("tests/bench/test_real_slurm.py", '"slurm"'),
}
NOT_RUN = {
    "accelerate launch *": "a process a GPU; torchrun, which it starts, is tested",
    "docker *": "needs a container engine; the container file is linted",
    ".venv/bin/pre-commit install": "changes the repository's hooks",
    "make bench": "wants a quiet machine for minutes; benchmarks/RESULTS.md has what it printed",
    "python benchmarks/masked.py *": "needs real clips, and hours",
    "mmsa bench docs/results/*": "needs real clips, and hours",
    "mmsa tune * --ranges docs/results/*": "as above; such a search is run in docs/benchmarks.md",
    "#!/bin/sh": "needs a Slurm for days; its command is that of the section above it",
    "mmsa tune -d mosi --out DIR": "a form; with a data root it is below",
    "mmsa predict --classes": "names an option",
    "mmsa predict --video": "names an option",
    "mmsa export --format onnx": "names an option",
    "mmsa bench --reference": "names an option",
}
#: Shown for what they answer: one line, status 2.
MISTAKES = {
    "mmsa -m suparc -d demo --set treshold=0.7",
    "mmsa -m supac",
    "mmsa -d demo --set bach_size=3",
    "mmsa -d demo --device cdua",
    "mmsa predict --run absent …",
}
#: What a command that begins so is given besides; the later of two values of an option counts.
QUICKLY = {
    "mmsa bench study": "-d mosi --dry-run",
    "mmsa bench": "--dry-run",
    "mmsa tune": "--trials 1 --epochs 1",
    "mmsa -": "--epochs 1",
}


def commands(page: Path) -> list[str]:
    """The page's commands, in their order: the lines of its blocks, and ``mmsa`` in a sentence or a
    table where it has an option."""
    text = page.read_text()
    found = []
    parts = re.compile(r"^( *)```(\w*).*?\n(.*?)^ *```|(?<!`)`(mmsa [^`]+)`", re.S | re.M)
    for match in parts.finditer(text):
        indent, language, block, inline = match.groups()
        if inline:
            words = " ".join(inline.split())
            found += [words] if " -" in words else []
        if language != "sh":
            continue
        lines = re.sub(rf"^{indent}", "", block, flags=re.M).replace("\\\n", "").splitlines()
        if lines[0].startswith("#!"):
            lines = lines[:1]
        elif any(line.startswith("$ ") for line in lines):
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        found += [
            " ".join(line.split(" #")[0].split())
            for line in lines
            if line.strip() and (line.startswith("#!") or not line.startswith("#"))
        ]
    return found


def pages(*, chinese: bool = False) -> list[Path]:
    names = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "examples/plugin-template/README.md"]
    names += sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
    names = [*FIRST, *(name for name in names if name not in FIRST)]
    return [ROOT / name for name in names if chinese or "/zh/" not in name]


ALL = list(dict.fromkeys(command for page in pages() for command in commands(page)))


def excused(command: str) -> list[str]:
    return [one for one in (*ELSEWHERE, *NOT_RUN) if fnmatchcase(command, one)]


HERE = [command for command in ALL if not excused(command)]


@pytest.fixture(scope="module")
def place(small_root: Path, demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages' commands name, and what they write."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "DATA").symlink_to(small_root)
    features = small_root / "MOSI" / "Processed" / "unaligned_50.pkl"
    for name in ("FILE", "clips.pkl", "downloaded.pkl"):
        (folder / name).symlink_to(features)
    for name in ("ENCODER", "my-encoder", "bert-base-uncased", "roberta-base"):
        (folder / name).symlink_to(demo.encoder)
    content = pickle.loads(features.read_bytes())
    for fields in content.values():
        fields["regression_labels"] = fields["regression_labels"] * 2 / 3 + 3
    (folder / "stars.pkl").write_bytes(pickle.dumps(content))
    (folder / "FILE.yaml").write_text(
        "data_sets: [mosi]\nseeds: [1]\nvariants: {SupArc: {model: suparc}}\n"
    )
    text = (ROOT / "docs" / "how-to" / "own-data.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)
    return folder


def test_there_are_commands_and_every_excuse_holds() -> None:
    assert len(ALL) > 80
    assert len(HERE) > 45
    assert set(MISTAKES) <= set(HERE)
    assert [one for one in QUICKLY if not any(c.startswith(one) for c in HERE)] == []
    for pattern in (*ELSEWHERE, *NOT_RUN):
        assert any(fnmatchcase(command, pattern) for command in ALL), f"on no page: {pattern}"
    for file, words in ELSEWHERE.values():
        assert words in (ROOT / file).read_text(), (file, words)


@pytest.mark.parametrize("command", HERE)
def test_a_command_runs(
    command: str, place: Path, mmsa: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    words = shlex.split(command)
    while re.match(r"[A-Z_]+=", words[0]):
        monkeypatch.setenv(*words.pop(0).split("=", 1))
    if words[0] != "mmsa":
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        done = subprocess.run(
            words, capture_output=True, text=True, env={**os.environ, "PATH": path}, check=False
        )
        assert done.returncode == 0, done.stderr
        return
    begins = next((one for one in QUICKLY if command.startswith(one)), None)
    if begins and command not in MISTAKES and command != "mmsa --help":
        words += QUICKLY[begins].split()
        if begins == "mmsa -" and "demo" not in words and "-s" not in words:
            words += ["-s", "1"]
    status, _, err = mmsa(*(word for word in words[1:] if word != "…"))
    assert status == (2 if command in MISTAKES else 0), err
    assert status == 0 or len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "page", pages(chinese=True), ids=lambda page: page.relative_to(ROOT).as_posix()
)
def test_every_command_is_understood(page: Path) -> None:
    """Those that are not run, too, and those of the Chinese pages."""
    for command in commands(page):
        is_whole = "…" not in command and NOT_RUN.get(command) != "names an option"
        if not is_whole or not command.startswith("mmsa ") or command == "mmsa --help":
            continue
        words = shlex.split(command)[1:]
        verb, name = verb_of(words)
        parser = argparse.ArgumentParser(exit_on_error=False, allow_abbrev=False)
        importlib.import_module(f"mmsa_suparc.cli.{name}").add_arguments(parser)
        try:
            _, unknown = parser.parse_known_args(words[len(verb) :])
        except SystemExit:
            pytest.fail(f"{page}: {command}")
        assert not unknown, command
