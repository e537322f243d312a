"""What happens to every page: formulas become MathML; links out of docs/ lead to the repository."""

from __future__ import annotations

import html
import posixpath
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert

FORMULA = re.compile(
    r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', flags=re.DOTALL
)  # fmt: skip
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#\s]+)(#[^)]*)?\)")
ROOT = Path(__file__).resolve().parents[2]
#: Files and folders that are pages under another name.
PAGES = {
    "CHANGELOG.md": "project/changes.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "README.md": "index.md",
    "README.zh-CN.md": "zh/index.md",
    "docs/results": "results/README.md",
}


def on_page_content(content: str, **_: Any) -> str:
    """Formulas as MathML, which browsers draw without a script."""

    def drawn(match: re.Match[str]) -> str:
        display = "inline" if match[1] == "span" else "block"
        return convert(html.unescape(match[2]), display=display)

    return FORMULA.sub(drawn, content)


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """A link to a file beside docs/ leads to its page, to the repository, or is its name."""
    folder = posixpath.dirname(page.file.src_uri)

    def led(match: re.Match[str]) -> str:
        words, target, anchor = match.groups()
        if re.match(r"[a-z]+:", target):
            return match[0]
        place = posixpath.normpath(posixpath.join("docs", folder, target))
        there = PAGES.get(place)
        if place.startswith("docs/") and (ROOT / place).is_file():
            there = place.removeprefix("docs/")
        if there:
            return f"[{words}]({posixpath.relpath(there, folder or '.')}{anchor or ''})"
        if place.startswith("..") or (place.startswith("docs/") and not (ROOT / place).is_dir()):
            return match[0]  # a page, or a mistake, which the strict build reports
        if repository := config.extra["repository"]:
            return f"[{words}]({repository.rstrip('/')}/blob/HEAD/{place})"
        return words if words.startswith("`") else f"{words} (`{place}`)"

    return LINK.sub(led, markdown)
