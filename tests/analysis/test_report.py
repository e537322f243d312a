"""The report of a benchmark: every section, in a real browser, without a network."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from matplotlib.figure import Figure

from mmsa_suparc.analysis import style
from mmsa_suparc.data.demo import Demo
from tests.helpers.chromium import told_by
from tests.helpers.figures import CHECKS, FIGURES
from tests.helpers.legends import covered

BENCH = {
    "title": "A <b>title</b> & more", "data_sets": ["demo"], "seeds": [1],
    "shared": {"epochs": 1}, "reference": "SupArc",
    "variants": {
        "SupArc": {"model": "suparc"},
        "sweep": {"model": "suparc", "set": {"margin": 0.1, "temperature": 0.1},
                  "sweep": {"threshold": [1.0, 6.0]}},
        "lf_dnn": {},
    },
    "probes": ["missing", "noise", "geometry"],
}  # fmt: skip
SECTIONS = ("Results", "Threshold", "Missing", "Intensity", "Calibration", "Confusion", "Geometry",
            "Contradiction", "Cost")  # fmt: skip


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, demo: Demo) -> Path:
    from mmsa_suparc.cli import main

    folder = tmp_path_factory.mktemp("bench")
    (folder / "bench.yaml").write_text(yaml.safe_dump(BENCH, sort_keys=False))
    assert main(["bench", str(folder / "bench.yaml"), "--out", str(folder / "out")]) == 0
    import mmsa_suparc

    mmsa_suparc.unregister()
    return folder / "out" / "report.html"


def test_every_section_has_its_table_and_picture(report: Path) -> None:
    text = report.read_text()
    for name in SECTIONS:
        assert re.search(rf"<h2>{name}[^<]* on demo</h2>", text), name
    figures = sorted(path.stem for path in (report.parent / "figures").glob("*.svg"))
    assert figures == sorted(
        f"demo-{name}" for name in
        ("results", "thresholds", "missing", "intensity", "calibration", "confusion", "geometry",
         "projection", "conflict")
    )  # fmt: skip
    tables = {path.stem for path in (report.parent / "tables").glob("*.md")}
    assert {"demo-validation", "demo-validation-differences", "demo-triplet"} <= tables
    assert {"demo-losses", "demo-cost"} <= tables
    assert text.count("<svg") == len(figures)
    assert "A &lt;b&gt;title&lt;/b&gt; &amp; more" in text
    assert sorted(path.stem for path in (report.parent / "figures").glob("*.pdf")) == figures
    assert "SupArc&#39;s MAE is " in text[: text.index("<h2>")]  # the answer stands first
    assert "not tested, 3 seeds a side at least are needed" in text
    assert "1 seed(s)" in text  # a warning: too few to know their spread
    assert "at threshold 6 100.0% of the pairs are positive" in text
    for path in (report.parent / "tables").glob("*.tex"):
        assert path.read_text().count("{") == path.read_text().count("}")


@pytest.fixture(scope="module")
def figures(report: Path) -> dict[str, Figure]:
    """Every figure that a section draws, as matplotlib has it."""
    from mmsa_suparc.analysis.report import ANALYSES
    from mmsa_suparc.announced import announce
    from mmsa_suparc.bench import benchmark, plan
    from mmsa_suparc.bench.results import Results

    announce()
    file = plan.read(report.parent.parent / "bench.yaml")
    asked = benchmark.prepare(file, report.parent, device="cpu")
    results = Results.collect(asked.plan, [job.folder for job in asked.jobs])
    sections = [one(results, "demo") for one in ANALYSES]
    return {name: f for section in sections if section for name, f in section.figures.items()}


@pytest.mark.parametrize("name", [name for name in FIGURES if name != "ranks"])
def test_legends_cover_no_data_and_texts_can_be_read(
    name: str, figures: dict[str, Figure], report: Path
) -> None:
    """By what matplotlib says of its extents; ranks need five folds, and are tested by hand."""
    assert set(figures) == {path.stem for path in (report.parent / "figures").glob("*.svg")}
    found = {check.__name__: check(figures[f"demo-{name}"]) for check in CHECKS}
    assert {name: faults for name, faults in found.items() if faults} == {}


@pytest.mark.parametrize("what", ["line", "point", "bar", "area", "image"])
def test_a_legend_that_covers_data_is_found(what: str) -> None:
    _, (plot,) = drawn = style.axes()
    if what == "line":  # between its points
        plot.plot([0, 1], [0, 1], label="a")
    elif what == "point":
        plot.scatter([0, 0.5, 1], [0, 0.5, 1], label="a")
    elif what == "bar":
        plot.bar([0, 1], [1, 1], width=1, label="a")
    elif what == "area":
        plot.fill_between([0, 1], [0, 0], [1, 1], label="a")
    else:
        plot.imshow([[1, 2], [3, 4]])
        plot.plot([], [], label="a")
    plot.legend(loc="center")
    assert covered(drawn[0])
    plot.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0))
    assert covered(drawn[0]) == []


def test_the_clips_have_their_words_and_their_errors_average_to_the_mae(
    report: Path, demo: Demo
) -> None:
    import pandas as pd

    from mmsa_suparc.data import reader

    test = reader.read(demo.features)["test"]
    words = dict(zip(map(str, test["id"]), map(str, test["raw_text"]), strict=True))
    table = pd.read_csv(report.parent / "tables" / "demo-clips.csv")
    assert dict(zip(table["id"], table["words"], strict=True)) == words
    summary = json.loads((report.parent / "summary.json").read_text())
    for variant, found in summary["datasets"]["demo"]["variants"].items():
        mean = table[f"{variant}: error"].mean()
        assert mean == pytest.approx(found["test"]["MAE"]["mean"], abs=1e-4)
    assert "<h2>Clips of demo</h2>" in report.read_text()


def test_complete_inputs_give_the_run_s_own_predictions(report: Path) -> None:
    """The probe loads the model from its folder: what it predicts must be what was recorded."""
    import pandas as pd

    for spec in report.parent.glob("cells/*/spec.json"):
        seed = json.loads(spec.read_text())["cell"]["seed"]
        recorded = pd.read_csv(spec.parent / f"seed-{seed}" / "predictions.csv")
        recorded = recorded[recorded["split"] == "test"].reset_index(drop=True)
        probed = pd.read_csv(spec.parent / "missing.csv", dtype={"level": str})
        for protocol, level in (("P1", "tav"), ("P2", "0.0"), ("P3", "0.0")):
            part = probed[(probed["protocol"] == protocol) & (probed["level"] == level)]
            assert part["id"].tolist() == recorded["id"].tolist()
            assert part["prediction"].to_numpy() == pytest.approx(
                recorded["prediction"].to_numpy(), abs=1e-5
            )


def test_in_a_browser_it_needs_no_network_and_its_tables_sort(report: Path, tmp_path: Path) -> None:
    script = """
    const table = document.querySelector("table.sortable");
    const column = [...table.tHead.querySelectorAll("button")]
      .findIndex(button => button.textContent.startsWith("MAE"));
    const numbers = () => [...table.tBodies[0].rows]
      .map(row => Number(row.cells[column].dataset.number));
    table.tHead.querySelectorAll("button")[column].click();
    const up = numbers();
    table.tHead.querySelectorAll("button")[column].click();
    const texts = [...document.querySelectorAll("figure")].flatMap(figure =>
      [...figure.querySelectorAll("g[id^=text_]")].map(text => ({
        name: `${figure.id} ${text.id}`, figure, box: text.getBoundingClientRect(),
        picture: figure.querySelector("svg").getBoundingClientRect(),
      })));
    document.title = JSON.stringify({
      up, down: numbers(),
      sorted: [...table.tHead.querySelectorAll("[aria-sort]")]
        .map(head => `${head.textContent} ${head.getAttribute("aria-sort")}`),
      pictures: [...document.querySelectorAll("figure svg")]
        .map(picture => picture.getBoundingClientRect().width),
      cut: texts.filter(({box, picture}) => box.left < picture.left - 1
        || box.right > picture.right + 1 || box.top < picture.top - 1
        || box.bottom > picture.bottom + 1).map(({name}) => name),
      covered: texts.flatMap((one, place) => texts.slice(place + 1).filter(other =>
        other.figure === one.figure && one.box.left < other.box.right - 1
        && other.box.left < one.box.right - 1 && one.box.top < other.box.bottom - 1
        && other.box.top < one.box.bottom - 1).map(other => `${one.name} ${other.name}`)),
      captions: [...document.querySelectorAll("figcaption b, h3 b")].map(one => one.textContent),
      requests: performance.getEntriesByType("resource").length,
    });
    document.body.textContent = document.title;
    """
    found = told_by(report, script, tmp_path)
    assert found["up"] == sorted(found["up"])
    assert found["down"] == sorted(found["down"], reverse=True)
    assert len(found["up"]) >= 4
    assert found["sorted"] == ["MAE\u00a0↓ descending"]
    assert len(found["pictures"]) == 9
    assert min(found["pictures"]) > 100
    assert found["requests"] == 0
    assert found["cut"] == []
    assert found["covered"] == []
    numbers = [f"Figure {place}." for place in range(1, 10)]
    assert [one for one in found["captions"] if one.startswith("Figure")] == numbers


def test_on_a_phone_nothing_but_tables_and_figures_scrolls(report: Path, tmp_path: Path) -> None:
    script = """
    const shares = [...document.querySelectorAll("table.sortable tbody tr:first-child")].map(row =>
      row.cells[0].offsetWidth / row.closest(".scroll").offsetWidth);
    document.title = JSON.stringify({
      room: innerWidth, asked: document.documentElement.scrollWidth, names: Math.max(...shares),
    });
    document.body.textContent = document.title;
    """
    found = told_by(report, script, tmp_path, width=400)
    assert found["room"] == 400
    assert found["asked"] <= 400
    assert found["names"] < 0.6  # the rest is for numbers


def test_on_paper_each_page_of_a_table_has_its_head(report: Path) -> None:
    """Chromium repeats no head that holds a button as a box of its own."""
    style = report.read_text().split("@media print", 1)[1].split("</style>")[0]
    assert re.search(r"th button \{ display: contents; \}", style)
    assert re.search(r"thead \{ display: table-header-group; break-inside: avoid; \}", style)
