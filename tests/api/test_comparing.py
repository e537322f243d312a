"""``mmsa_suparc.bench``: a benchmark's results, differences and figures."""

from __future__ import annotations

import dataclasses
import inspect
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import mmsa_suparc
from mmsa_suparc.data.demo import Demo
from mmsa_suparc.errors import UserError

BENCH = {
    "title": "Two <b>heads</b>", "data_sets": ["demo"], "seeds": [1],
    "shared": {"epochs": 1}, "reference": "SupArc",
    "variants": {"SupArc": {"model": "suparc"}, "lf_dnn": {}},
}  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, demo: Demo) -> mmsa_suparc.BenchResult:
    out = tmp_path_factory.mktemp("bench")
    return mmsa_suparc.bench(BENCH, out=out, jobs=2, progress=False)


def test_it_holds_results_differences_and_figures(found: mmsa_suparc.BenchResult) -> None:
    assert found.unfinished == []
    assert set(found.results["variant"]) == {"SupArc", "lf_dnn"}
    test = found.results.query("split == 'test' and metric == 'MAE'").set_index("variant")["value"]
    row = found.differences.query("split == 'test'").iloc[0]
    assert row["variant"] == "lf_dnn"
    assert row["value"] == pytest.approx(test["lf_dnn"] - test["SupArc"], abs=1e-3)
    assert row["low"] <= row["value"] <= row["high"]
    assert found.summary().loc[("demo", "lf_dnn"), "MAE"] == test["lf_dnn"]
    assert "<svg" in found.figures["demo-results"]._repr_svg_()
    assert found.report.is_file()


def test_it_shows_itself_and_travels(found: mmsa_suparc.BenchResult) -> None:
    assert "2 variants, 2 trainings done, 0 not" in repr(found)
    assert "Two &lt;b&gt;heads&lt;/b&gt;" in found._repr_html_()
    sent = pickle.loads(pickle.dumps(mmsa_suparc.load_bench(found.folder)))
    pd.testing.assert_frame_equal(sent.results, found.results)
    assert sent.figures == found.figures


def test_what_is_done_is_not_done_again(found: mmsa_suparc.BenchResult) -> None:
    logs = {path: path.stat().st_mtime_ns for path in found.folder.glob("cells/*/cell.log")}
    assert len(logs) == 2
    again = mmsa_suparc.bench(BENCH, out=found.folder, progress=False)
    assert {path: path.stat().st_mtime_ns for path in logs} == logs
    pd.testing.assert_frame_equal(again.results, found.results)


def test_its_report_is_made_again_as_the_command_makes_it(
    found: mmsa_suparc.BenchResult, mmsa: Callable, tmp_path: Path
) -> None:
    copies = [tmp_path / name for name in ("ours", "theirs")]
    for copy in copies:
        shutil.copytree(found.folder, copy)
        for path in ("report.html", "results.csv", "tables/demo-results.md"):
            (copy / path).unlink()
    ours, theirs = copies
    loaded = mmsa_suparc.load_bench(found.folder)
    moved = dataclasses.replace(loaded, folder=ours)
    assert moved.write_report(reference=True) == moved.report == ours / "report.html"
    assert mmsa("bench", "report", theirs, "--reference")[0] == 0
    for path in ("results.csv", "summary.json", "tables/demo-results.md"):
        assert (ours / path).read_bytes() == (theirs / path).read_bytes()
    pd.testing.assert_frame_equal(mmsa_suparc.load_bench(ours).results, loaded.results)
    shutil.rmtree(ours / "cells")
    with pytest.raises(UserError, match="none of its 2 trainings is finished"):
        moved.write_report()


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ({"varaints": {}}, "benchmark: unknown key 'varaints'; did you mean 'variants'"),
        ({**BENCH, "seeds": [{1}]}, "benchmark, line 5: a tag .*; expected plain values"),
        ({**BENCH, "include": ["nowhere"]}, "benchmark nowhere: no such file"),
        ("qick", "did you mean 'quick'"),
    ],
)
def test_mistakes_are_one_line(file: object, message: str, demo: Demo) -> None:
    with pytest.raises(UserError, match=message) as caught:
        mmsa_suparc.bench(file, out="out", progress=False)
    assert "/tmp" not in str(caught.value)
    assert not Path("out").exists()


def test_the_room_is_a_package_and_a_function() -> None:
    from mmsa_suparc.bench import statistics

    assert mmsa_suparc.bench.statistics is statistics
    assert list(inspect.signature(mmsa_suparc.bench).parameters)[:2] == ["file", "out"]


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no benchmark's results here"):
        mmsa_suparc.load_bench(tmp_path)
