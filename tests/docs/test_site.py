"""The site: strict, complete, its links alive, and nothing of it on another host."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from mmsa_suparc.cli import VERBS
from mmsa_suparc.config import SupArcConfig
from tests.helpers.chromium import program

pytest.importorskip("mkdocs", reason="no documentation tools here (extra: docs)")

ROOT = Path(__file__).resolve().parents[2]
#: Addresses that name a grammar or stand in a page as text to click on.
LOADED = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


class Page(HTMLParser):
    """What a page links to, loads, and can be linked at."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.anchors |= {value for key in ("id", "name") if (value := given.get(key))}
        if tag == "a" and (target := given.get("href")):
            self.links.append(target)
        if target := given.get(LOADED.get(tag, "")):
            self.loaded.append(target)


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    found = {path: Page(path) for path in site.rglob("*.html")}
    assert len(found) > 40
    return found


def test_no_link_of_the_site_is_dead(site: Path, pages: dict[Path, Page]) -> None:
    checked = 0
    for path, page in pages.items():
        if path.name == "404.html":  # served at any address
            continue
        for target in page.links + page.loaded:
            parts = urlsplit(target)
            if parts.scheme or target.startswith("//"):
                continue
            file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert file.exists(), (path.relative_to(site), target)
            if parts.fragment and file in pages:
                anchor = unquote(parts.fragment)
                assert anchor in pages[file].anchors, (path.relative_to(site), target)
            checked += 1
    assert checked > 1_000


def test_no_page_loads_anything_from_another_host(site: Path, pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        for target in page.loaded:
            assert not urlsplit(target).netloc, (path.relative_to(site), target)
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import\s*)[\"']?(https?:)?//", style.read_text()), style


def navigation(part: object) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict):
        for below in part.values():
            yield from navigation(below)
    elif isinstance(part, list):
        for below in part:
            yield from navigation(below)


def test_every_page_of_docs_is_in_the_navigation() -> None:
    text = re.sub(r"!ENV", "", (ROOT / "mkdocs.yml").read_text())
    named = set(navigation(yaml.safe_load(text)["nav"]))
    written = {
        path.relative_to(ROOT / "docs").as_posix()
        for path in (ROOT / "docs").rglob("*.md")
        if "tables" not in path.parts
    }
    assert len(written) > 30
    assert written <= named


def addresses() -> set[str]:
    """Where each name of an ``__all__`` of the package is defined."""
    found = {"mmsa_suparc.api.comparing.compare"}  # the package's bench, called
    files = [path for path in (ROOT / "mmsa_suparc").rglob("*.py") if "__all__" in path.read_text()]
    assert len(files) >= 4
    for file in files:
        parts = file.relative_to(ROOT).with_suffix("").parts
        module = importlib.import_module(".".join(parts).removesuffix(".__init__"))
        for name in set(module.__all__) - {"__version__", "bench"}:
            one = getattr(module, name)
            is_module = isinstance(one, types.ModuleType)
            found.add(one.__name__ if is_module else f"{one.__module__}.{one.__qualname__}")
    return found


def test_the_reference_has_every_name_key_and_verb(site: Path) -> None:
    reference = site / "reference"
    python = Page(reference / "python.html").anchors | Page(reference / "losses.html").anchors
    assert {"mmsa_suparc.serving.any_model.RunPredictor", "mmsa_suparc.errors"} < addresses()
    assert addresses() <= python, addresses() - python
    assert "mmsa_suparc.serving.asking.ClipPredictor.predict" in python
    configuration = (reference / "configuration.html").read_text()
    for key in SupArcConfig.model_fields:
        assert configuration.count(f"<code>{key}</code>"), key
    assert "KDMCSE" in configuration  # a reason beside its value
    commands = (reference / "commands.html").read_text()
    for verb in VERBS:
        assert f"usage: mmsa {'' if verb == 'run' else verb}" in commands
    assert "usage: mmsa data cache" in commands


def test_formulas_are_drawn_without_a_script(site: Path) -> None:
    losses = (site / "reference" / "losses.html").read_text()
    assert losses.count("<math") > 8
    assert "arithmatex" not in losses


def test_in_a_browser_nothing_is_asked_of_the_network_and_the_search_finds(site: Path) -> None:
    browser = program()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        context = chromium.new_context(offline=True)
        page = context.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        for name in ("index", "reference/losses", "explanation/method", "zh/index"):
            page.goto((site / f"{name}.html").as_uri())
        assert page.evaluate("document.querySelectorAll('article').length") == 1
        page.goto((site / "index.html").as_uri())
        page.fill("input.md-search__input", "temperature")
        page.wait_for_selector(".md-search-result__item a", timeout=60_000)
        assert page.locator(".md-search-result__item").count() > 1
        page.goto((site / "reference/losses.html").as_uri())
        tall = "Math.max(...[...document.querySelectorAll('math')].map(m => m.clientHeight))"
        assert page.evaluate(tall) > 30  # a sum over fractions
        chromium.close()
    assert len(asked) > 10
    assert not [url for url in asked if url.startswith(("http", "ws"))]
