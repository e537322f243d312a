"""The page in a browser: example, seeds, tries, keyboard, widths, themes, accessibility."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mmsa_suparc
from mmsa_suparc.data.demo import Demo
from mmsa_suparc.serving import example, seeds
from mmsa_suparc.serving.app import Page
from mmsa_suparc.serving.predictor import SupArcPredictor
from tests.helpers.chromium import program
from tests.helpers.page import served

pytest.importorskip("gradio")
WIDTHS = (1200, 800, 400)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, demo: Demo) -> Path:
    """Two seeds of SupArc on the embedded data set."""
    from mmsa_suparc.cli import main

    folder = tmp_path_factory.mktemp("page")
    assert main(
        ["-m", "suparc", "-d", "demo", "-s", "1", "-s", "2", "--epochs", "1", "-v", "0",
         "--run-dir", str(folder / "run"), "--res-save-dir", str(folder / "table")]
    ) == 0  # fmt: skip
    mmsa_suparc.unregister()
    return folder / "run"


@pytest.fixture(scope="module")
def address(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(run, tmp_path_factory.mktemp("temporary")) as (port, _):
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    browser = program()
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=browser, args=flags)
        yield started
        started.close()


def opened(chromium: Any, address: str, width: int, theme: str = "light") -> Any:
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("textarea", timeout=60_000)
    return page


def wait_for_a_try(page: Any) -> None:
    """Until the page lists it; the button that forgets it is shown by an event of its own."""
    page.wait_for_selector("#tries tbody tr", timeout=60_000)
    page.get_by_role("button", name="Forget the tries").wait_for(timeout=60_000)


def with_tries(page: Any) -> None:
    """The example, then the same without its audio."""
    page.get_by_role("button", name="Example").click()
    wait_for_a_try(page)
    page.get_by_label("audio").uncheck()
    page.wait_for_selector("[data-bar=audio]:has-text('not used')", timeout=60_000)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_at_every_width_all_is_there_and_nothing_is_cut(
    chromium: Any, address: str, theme: str, tmp_path: Path
) -> None:
    for width in WIDTHS:
        page = opened(chromium, address, width, theme)
        with_tries(page)
        page.screenshot(path=tmp_path / f"{theme}-{width}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        beyond = page.evaluate(
            "() => [...document.querySelectorAll('.suparc, .suparc *')].filter(one => {"
            " const box = one.getBoundingClientRect();"
            " return box.width && (box.left < 0 || box.right > innerWidth); }).length"
        )
        assert beyond == 0
        brightness = page.evaluate(
            "getComputedStyle(document.querySelector('#score')).color.match(/\\d+/g).map(Number)"
        )
        assert (sum(brightness) > 3 * 128) == (theme == "dark")
        assert page.locator("#tries tbody tr").count() == 2
        assert "2 seeds from" in page.locator("#score .scale").get_attribute("aria-label")
        assert page.locator(".whisker").count() == 2
        page.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(chromium: Any, address: str, theme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python", reason="axe-core is not installed")
    script = (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    for width in (1200, 400):
        page = opened(chromium, address, width, theme)
        page.evaluate(script)
        for step in (lambda page: None, with_tries):  # empty, and with all that it shows
            step(page)
            found = page.evaluate("axe.run(document)")["violations"]
            assert [
                (one["id"], [(node["target"], node["failureSummary"]) for node in one["nodes"]])
                for one in found
                if one["impact"] in ("serious", "critical")
            ] == []
        page.close()


def test_everything_has_a_name_and_can_be_reached_by_keyboard(chromium: Any, address: str) -> None:
    page = opened(chromium, address, 800)
    words = page.get_by_role("textbox", name="Words")
    words.focus()
    page.keyboard.type("what a film")
    page.keyboard.press("Shift+Enter")
    wait_for_a_try(page)
    seen = []
    for _ in range(8):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate(
                "() => { const one = document.activeElement; return one.labels?.[0]?.innerText"
                " || one.getAttribute('aria-label') || one.innerText; }"
            ).strip()
        )
    wanted = ["text", "audio", "vision", "Score", "Example", "Forget the tries"]
    assert seen[: len(wanted)] == wanted
    assert page.locator("#result").get_attribute("aria-live") == "polite"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline
    page.get_by_role("button", name="Forget the tries").press("Enter")
    page.wait_for_selector("#tries", state="detached", timeout=60_000)
    page.close()


def test_tries_are_of_one_page(chromium: Any, address: str) -> None:
    page = opened(chromium, address, 800)
    with_tries(page)
    page.reload()
    page.wait_for_selector("textarea", timeout=60_000)
    assert page.locator("#tries").count() == 0
    assert page.evaluate("JSON.stringify(localStorage)").count("words") == 0
    page.close()


@pytest.mark.slow
def test_a_model_of_the_toolkit_is_served_alike(chromium: Any, tmp_path: Path, demo: Demo) -> None:
    mmsa_suparc.run("lf_dnn", "demo", seeds=[1], epochs=1, out=tmp_path / "run", progress=False)
    with served(tmp_path / "run", tmp_path) as (port, _):
        page = opened(chromium, f"http://127.0.0.1:{port}/", 400)
        assert "lf_dnn knows no masks" in page.locator("#caution").inner_text()
        page.get_by_role("button", name="Example").click()
        wait_for_a_try(page)
        whole = page.locator("[data-score]").first.get_attribute("data-score")
        page.get_by_label("text").uncheck()
        page.wait_for_selector("[data-bar=text]:has-text('not used')", timeout=60_000)
        assert page.locator("[data-score]").first.get_attribute("data-score") != whole
        assert page.locator("#tries tbody tr").count() == 2
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        page.screenshot(path=tmp_path / "lf_dnn.png", full_page=True)
        page.close()


def test_the_interval_is_of_the_runs_seeds(run: Path) -> None:
    served_one = SupArcPredictor.from_run(run)
    others = seeds.others(run, served_one.serving.seed, 4)
    assert {one.serving.seed for one in others} == {1, 2} - {served_one.serving.seed}
    assert seeds.others(run, served_one.serving.seed, 0) == []
    result, _, tried = Page(served_one, others).score(None, "a great film", ["text"])
    scores = sorted(one.predict(text="a great film").score for one in (served_one, *others))
    assert (tried.tries[0].spread.low, tried.tries[0].spread.high) == pytest.approx(scores)
    assert f'data-score="{served_one.predict(text="a great film").score:.6f}"' in result


def test_an_example_is_there_for_every_model(run: Path) -> None:
    predictor = SupArcPredictor.from_run(run)
    clip, told, words = Page(predictor).show_example()
    assert clip is not None
    assert "embedded data set" in told
    result, _, _ = Page(predictor).score(clip, words, ["text", "audio", "vision"])
    assert "not used" not in result
    said = example.of(predictor.serving, None, "words of mine")
    assert Page(predictor, example=said).show_example() == (
        None, "<p>The example: words alone.</p>", "words of mine"
    )  # fmt: skip
