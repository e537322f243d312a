"""A real browser, where this machine has one."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.patience import patience


def program() -> str:
    """Its path; the test is skipped without one."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium here")
    return found


def told_by(page: Path, script: str, folder: Path, *, width: int = 0) -> dict[str, Any]:
    """What a script at the end of a page leaves in the document's title, as JSON.

    Args:
        page: a file, which stays as it is.
        script: JavaScript; it also empties the document's body, which is printed.
        folder: for the changed page and the browser's profile.
        width: in pixels, of a frame that the page stands in: no window is as narrow as a phone.
    """
    changed = folder / "page.html"
    tell = "parent.postMessage(document.title, '*');" if width else ""
    ending = f"<script>{script}{tell}</script></body>"
    changed.write_text(page.read_text().replace("</body>", ending))
    waiting = ["--virtual-time-budget=5000"] if width else []
    if width:
        frame = folder / "frame.html"
        frame.write_text(
            "<title>-</title><script>onmessage = e => { document.title = e.data; }</script>"
            f'<iframe src="{changed.as_uri()}" width="{width}" height="900"></iframe>'
        )
        changed = frame
    done = subprocess.run(
        [
            program(), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
            "--disable-background-networking", *waiting,
            f"--user-data-dir={folder / 'profile'}",
            changed.as_uri(),
        ],
        capture_output=True, text=True, timeout=patience(120), check=True,
    )  # fmt: skip
    title = re.search(r"<title>(\{.*?\})</title>", done.stdout, re.DOTALL)
    assert title is not None, done.stdout[:500]
    found: dict[str, Any] = json.loads(html.unescape(title[1]))
    return found
