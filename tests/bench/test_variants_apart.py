"""Variants trained by commands of their own are compared by one report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml


@pytest.mark.slow
def test_the_report_has_every_finished_variant_whatever_was_asked_for(mmsa: Callable) -> None:
    content = {
        "title": "Apart", "data_sets": ["demo"], "seeds": [1], "reference": "two",
        "variants": {
            "one": {"model": "lf_dnn", "set": {"epochs": 1}},
            "two": {"model": "lf_dnn", "set": {"epochs": 2}},
            "never": {"model": "lf_dnn", "set": {"epochs": 3}},
        },
    }  # fmt: skip
    Path("bench.yaml").write_text(yaml.safe_dump(content, sort_keys=False))

    status, out, err = mmsa("bench", "bench.yaml", "--out", "out", "--variant", "one")
    assert (status, err) == (0, "")
    assert "1 of 1 done" in out
    first = json.loads(Path("out/summary.json").read_text())
    assert list(first["datasets"]["demo"]["variants"]) == ["one"]

    status, out, err = mmsa("bench", "bench.yaml", "--out", "out", "--variant", "two")
    assert (status, err) == (0, "")
    assert "2 of 2 done" in out
    both = json.loads(Path("out/summary.json").read_text())
    assert both["reference"] == "two"
    assert list(both["datasets"]["demo"]["variants"]) == ["one", "two"]
    assert both["datasets"]["demo"]["variants"]["one"]["difference"]["clips"] == 300
    assert len(list(Path("out/cells").glob("*/records.jsonl"))) == 2
    status, out, err = mmsa("bench", "report", "out")
    assert (status, err) == (0, "")
    assert "2 of 2 done" in out
    assert json.loads(Path("out/summary.json").read_text()) == both

    content["variants"]["never"]["set"] = {"no_such_key": 1}
    Path("bench.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    status, out, err = mmsa("bench", "bench.yaml", "--out", "out", "--variant", "one")
    assert (status, err) == (0, "")
    assert "1 of 1 done" in out  # what cannot be planned is in nobody's way
