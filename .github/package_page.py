"""Before a release is built: links of the README, and the package's addresses, become whole.

    python .github/package_page.py https://HOST/OWNER/NAME v0.2.0

A package index shows README.md by itself, where links beside it lead nowhere.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def absolute(text: str, repository: str, tag: str) -> str:
    """Links to files become those of the repository at a tag; pictures those of their bytes."""

    def led(match: re.Match[str]) -> str:
        mark, words, target = match.groups()
        kind = "raw" if mark else "blob"
        return f"{mark}[{words}]({repository}/{kind}/{tag}/{target})"

    return re.sub(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)\s]+)\)", led, text)


def with_addresses(setup: str, repository: str) -> str:
    """``project_urls`` with the repository, its issues and its changes."""
    lines = [
        f"    Source = {repository}",
        f"    Issues = {repository}/issues",
        f"    Changes = {repository}/blob/HEAD/CHANGELOG.md",
    ]
    made, places = re.subn(r"(?<=\nproject_urls =)[ ]*(?=\n)", "\n" + "\n".join(lines), setup)
    assert places == 1
    return made


def main() -> None:
    """Rewrite README.md and setup.cfg in place."""
    repository, tag = sys.argv[1].rstrip("/"), sys.argv[2]
    readme, setup = ROOT / "README.md", ROOT / "setup.cfg"
    readme.write_text(absolute(readme.read_text(), repository, tag))
    setup.write_text(with_addresses(setup.read_text(), repository))


if __name__ == "__main__":
    main()
