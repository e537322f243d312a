"""The tutorials run, cell by cell, on the embedded data set; the site shows what they printed."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mmsa_suparc.videos.media import ffmpeg

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
NOTEBOOKS = [page.stem for page in PAGES if page.stem != "index"]
RUN = ROOT / "build" / "tutorials"  # read by docs/hooks/tutorials.py


def cells(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)


def test_there_are_six_and_each_is_announced() -> None:
    index = (ROOT / "docs" / "tutorials" / "index.md").read_text()
    assert len(NOTEBOOKS) == 6
    assert set(re.findall(r"^\| .*\]\(([\w-]+)\.md\)", index, re.MULTILINE)) == set(NOTEBOOKS)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_chinese_tutorials_have_the_same_cells(name: str) -> None:
    chinese = ROOT / "docs" / "zh" / "tutorials" / f"{name}.md"
    assert cells(chinese) == cells(ROOT / "docs" / "tutorials" / f"{name}.md")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_each_asserts_what_it_promises(name: str) -> None:
    code = "\n".join(cells(ROOT / "docs" / "tutorials" / f"{name}.md"))
    assert re.search(r"^ *assert ", code, re.MULTILINE)


def execute(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, change: tuple[str, str] = ("", "")
) -> Any:
    """The notebook with what its cells printed; ``change`` is made in its cells before."""
    jupytext, nbclient = pytest.importorskip("jupytext"), pytest.importorskip("nbclient")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    monkeypatch.setenv("PATH", path)
    monkeypatch.setenv("TQDM_DISABLE", "1")  # bars are no output to keep
    notebook = jupytext.read(ROOT / "docs" / "tutorials" / f"{name}.md")
    for cell in notebook.cells:
        if change[0] and cell.cell_type == "code":
            cell.source = cell.source.replace(*change)
    where = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources=where, coalesce_streams=True
    ).execute()
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        for output in cell.outputs:
            # A command's failure is no exception in a notebook; "seed N: …" is a run's warning.
            if "text" in output:
                output.text = re.sub(r"\r|\x1b\[[0-9;]*[A-Za-z]", "", output.text)
                refused = re.search(r"^mmsa: (?!seed \d+: )", output.text, flags=re.MULTILINE)
                assert not refused, output
        # Warnings of libraries name this machine's folders.
        cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr"]
    return notebook


def test_pages_show_what_their_cells_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for library in ("jupytext", "mkdocs", "nbconvert"):
        pytest.importorskip(library, reason="no documentation tools here (extra: docs)")
    import jupytext
    import nbformat

    spec = importlib.util.spec_from_file_location("hook", ROOT / "docs" / "hooks" / "tutorials.py")
    assert spec is not None
    assert spec.loader is not None
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    monkeypatch.setattr(hook, "RUN", tmp_path)
    notebook = jupytext.read(ROOT / "docs" / "tutorials" / "losses.md")
    first = hook.code_cells(notebook)[0]
    first.outputs = [nbformat.v4.new_output("stream", text="printed by the first cell")]

    def shown(name: str) -> str:
        jupytext.write(notebook, tmp_path / "losses.ipynb", fmt="ipynb")
        file = SimpleNamespace(src_uri=name, abs_src_path=str(ROOT / "docs" / name))
        return str(hook.on_page_markdown("as it stands", SimpleNamespace(file=file), None, []))

    english, chinese = "tutorials/losses.md", "zh/tutorials/losses.md"
    assert "printed by the first cell" in shown(english)
    assert "printed by the first cell" in shown(chinese)
    assert "损失" in shown(chinese)
    assert shown("tutorials/first-run.md") == "as it stands"
    first.source += "  # another cell was run"
    assert shown(english) == shown(chinese) == "as it stands"


@pytest.mark.tutorials
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_tutorial_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = execute(name, tmp_path, monkeypatch)
    if name == "video-to-score":  # no other may skip its cells, nor this one without a word
        first = next(cell for cell in notebook.cells if cell.cell_type == "code")
        assert first.outputs[0].text.startswith(("ready", "skipped: "))
    RUN.mkdir(parents=True, exist_ok=True)
    import jupytext

    jupytext.write(notebook, RUN / f"{name}.ipynb", fmt="ipynb")


#: Without what the tutorial is about it has to fail. (The one of videos: with MMSA-FET, below.)
UNDONE = {
    "fair-comparison": ("--jobs 2", "--jobs 2 --variant SupArc"),
    "first-run": ("--set margin=0.2 --run-dir", "--run-dir"),
    "losses": ("    optimiser.step()\n", ""),
    "missing-modalities": ("present=present)", "present=('text', 'audio', 'vision'))"),
    "own-model": ("optimiser.step()", "pass"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", UNDONE)
def test_a_tutorial_that_does_nothing_fails(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbclient = pytest.importorskip("nbclient")
    found = cells(ROOT / "docs" / "tutorials" / f"{name}.md")
    assert any(UNDONE[name][0] in cell for cell in found)
    assert len(UNDONE) == len(NOTEBOOKS) - 1
    with pytest.raises(nbclient.exceptions.CellExecutionError):
        execute(name, tmp_path, monkeypatch, UNDONE[name])


@pytest.mark.slow
@pytest.mark.fet
def test_the_tutorial_of_videos_scores_a_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With MMSA-FET no cell is skipped."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "ffmpeg").symlink_to(ffmpeg())  # perhaps imageio-ffmpeg's, of another name
    monkeypatch.setenv("PATH", os.pathsep.join([str(programs), os.environ["PATH"]]))
    notebook = execute("video-to-score", tmp_path, monkeypatch)
    *_, command, python = (
        "".join(output.get("text", "") for output in cell.outputs)
        for cell in notebook.cells
        if cell.cell_type == "code"
    )
    assert "clip0.mp4" in command
    assert "score=" in python
