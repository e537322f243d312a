"""The example notebook runs as it stands, and is kept with its results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import mmsa_suparc
from mmsa_suparc.api.pictures import Drawing, Picture
from mmsa_suparc.data.demo import Demo

NOTEBOOK = Path(__file__).parents[1] / "examples" / "python.ipynb"


def code_cells() -> list[dict[str, Any]]:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    found = [cell for cell in cells if cell["cell_type"] == "code"]
    assert found
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_it_runs_and_shows_a_result_and_a_curve(demo: Demo) -> None:
    names: dict[str, Any] = {}
    shown: list[Any] = []
    for cell in code_cells():
        source = "".join(cell["source"])
        # An epoch and a seed are enough here.
        for epochs in ("epochs=6", '"epochs": 3'):
            source = source.replace(epochs, epochs[:-1] + "1")
        source = source.replace("[1111, 1112]", "[1111]")
        try:
            code = compile(source, NOTEBOOK.name, "eval")
        except SyntaxError:  # statements; a name at their end is what the cell shows
            exec(source, names)
            last = source.splitlines()[-1]
            if last.isidentifier():
                shown.append(names[last])
        else:
            shown.append(eval(code, names))
    kinds = {type(one) for one in shown}
    assert {mmsa_suparc.RunResult, mmsa_suparc.BenchResult, Picture, Drawing} <= kinds


def test_it_is_kept_with_its_results_and_without_this_machine_s_folders() -> None:
    outputs = [output for cell in code_cells() for output in cell["outputs"]]
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    assert {"text/html", "image/png", "image/svg+xml"} <= kinds
    assert all(output["output_type"] != "error" for output in outputs)
    assert str(Path.home()) not in NOTEBOOK.read_text()
