"""Tutorials with what their cells printed, where they were run before (``make docs`` does)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from mkdocs.structure.files import File
from nbconvert import MarkdownExporter

#: Where ``tests/docs/test_tutorials.py`` leaves the notebooks that it ran.
RUN = Path(__file__).resolve().parents[2] / "build" / "tutorials"


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """The page of a notebook that was run has its outputs, in Chinese too; not one whose cells have
    changed since."""
    name = Path(page.file.src_uri)
    run = RUN / f"{name.stem}.ipynb"
    if name.parent.name != "tutorials" or not run.is_file():
        return markdown
    notebook = jupytext.read(page.file.abs_src_path)
    ours, theirs = code_cells(notebook), code_cells(nbformat.read(run, as_version=4))
    if [cell.source for cell in ours] != [cell.source for cell in theirs]:
        return markdown
    for cell, ran in zip(ours, theirs, strict=True):
        cell.outputs = ran.outputs
    found, resources = MarkdownExporter().from_notebook_node(notebook)
    # Tables as the theme draws its own.
    found = re.sub(r"<style scoped>.*?</style>", "", found, flags=re.DOTALL)
    found = found.replace('<table border="1" class="dataframe">', "<table>")
    for picture, content in resources["outputs"].items():
        path = f"{name.parent.as_posix()}/{name.stem}-{picture}"
        found = found.replace(f"({picture})", f"({Path(path).name})")
        files.append(File.generated(config, path, content=content))
    return str(found)


def code_cells(notebook: Any) -> list[Any]:
    """Those that print."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]
