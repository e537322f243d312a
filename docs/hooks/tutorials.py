"""Tutorials with what their cells printed, where they were run before (``make docs`` does)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
from mkdocs.structure.files import File
from nbconvert import MarkdownExporter

#: Where ``tests/docs/test_tutorials.py`` leaves the notebooks that it ran.
RUN = Path(__file__).resolve().parents[2] / "build" / "tutorials"


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """The page of a notebook that was run is made of the notebook."""
    name = Path(page.file.src_uri)
    run = RUN / f"{name.stem}.ipynb"
    if name.parent.as_posix() != "tutorials" or not run.is_file():
        return markdown
    found, resources = MarkdownExporter().from_notebook_node(nbformat.read(run, as_version=4))
    # Tables as the theme draws its own.
    found = re.sub(r"<style scoped>.*?</style>", "", found, flags=re.DOTALL)
    found = found.replace('<table border="1" class="dataframe">', "<table>")
    for picture, content in resources["outputs"].items():
        path = f"tutorials/{name.stem}-{picture}"
        found = found.replace(f"({picture})", f"({Path(path).name})")
        files.append(File.generated(config, path, content=content))
    return str(found)
