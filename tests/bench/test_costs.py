"""What trainings take: counted once, whatever stopped them, and blank where nobody counted."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from mmsa_suparc.analysis import cost
from mmsa_suparc.bench.costs import COSTS, costs_of
from mmsa_suparc.runs.seeds import trainable_parameters
from mmsa_suparc.training.memory import forget_peak, peak_memory
from tests.helpers.cells import make_cell, make_results

LABELS = np.linspace(-3, 3, 25)
#: The second process of a training that was stopped after two epochs.
EPOCHS = [
    {"epoch": 1, "train_seconds": 9.0, "valid_seconds": 0.5, "peak_process_mib": 700.0},
    {"epoch": 2, "train_seconds": 2.0, "valid_seconds": 0.5, "peak_process_mib": 710.0},
    {"epoch": 3, "train_seconds": 2.5, "valid_seconds": 0.25, "peak_process_mib": 640.0},
]


def test_a_training_that_went_on_has_its_median_epoch_and_the_peak_of_all_its_processes() -> None:
    found = costs_of(1_000, pd.DataFrame(EPOCHS), {"train": 100, "valid": 25})
    assert found.pop("peak_gpu_mib") != found  # NaN: no GPU
    assert found == {
        "trainable_parameters": 1_000, "epoch_seconds": 2.5, "train_clips_per_second": 40.0,
        "valid_clips_per_second": 50.0, "peak_process_mib": 710.0,
    }  # fmt: skip


def test_a_folder_of_an_older_version_is_blank_where_it_says_nothing() -> None:
    assert all(map(math.isnan, costs_of(None, pd.DataFrame(), {}).values()))
    seconds = pd.DataFrame(EPOCHS).drop(columns="peak_process_mib")
    found = costs_of(None, seconds, {"train": 100})
    known = {name for name, value in found.items() if math.isfinite(value)}
    assert known == {"epoch_seconds", "train_clips_per_second"}


def test_the_table_has_medians_over_trainings_and_results_csv_each(tmp_path: Path) -> None:
    cells = [
        make_cell(
            tmp_path, "new", LABELS, LABELS, seed=seed, parameters=12_345,
            history=[{**row, "train_seconds": seconds} for row in EPOCHS],
        )
        for seed, seconds in ((1, 1.0), (2, 2.0), (3, 60.0))
    ]  # fmt: skip
    cells.append(make_cell(tmp_path, "older", LABELS, LABELS))
    cells[0].folder.keep_outcome(0, 1.0, at_once=2)
    results = make_results(*cells)
    (table,) = cost.section(results, "mosi").tables
    assert [entry.text for entry in table.rows[0]] == [
        "new",
        "3",
        "12,345",
        "2.00",
        "50",
        "100",
        "710",
    ]
    assert [entry.text for entry in table.rows[1]] == ["older", "1", *"–––––"]
    assert not any("GPU" in head for head in table.head)
    assert "with 2 trainings at a time" in table.notes[1]
    tidy = results.tidy().groupby(["variant", "seed"])[list(COSTS)].first()
    assert tidy.loc["new", "epoch_seconds"].tolist() == [1.0, 2.0, 60.0]
    assert tidy.loc["older"].isna().all(axis=None)
    assert cost.section(make_results(cells[-1]), "mosi") is None


def test_parameters_count_once_and_not_in_an_encoder_that_is_shielded_from_gradients() -> None:
    model = nn.ModuleDict(
        {"one": nn.Linear(3, 2), "frozen": nn.Linear(7, 7), "encoder": nn.Linear(5, 5)}
    )
    model["again"] = model["one"]
    model["frozen"].requires_grad_(False)
    model["encoder"].use_finetune = False
    assert trainable_parameters(model) == 3 * 2 + 2
    model["encoder"].use_finetune = True
    assert trainable_parameters(model) == 3 * 2 + 2 + 5 * 5 + 5


def test_a_process_is_not_charged_with_what_its_parent_held() -> None:
    held = np.ones(80_000_000)  # 610 MiB
    ours = peak_memory(torch.device("cpu"))["peak_process_mib"]
    assert ours > held.nbytes / 2**20
    code = ("import torch; from mmsa_suparc.training.memory import peak_memory as p; "
            "print(p(torch.device('cpu'))['peak_process_mib'])")  # fmt: skip
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 50 < float(child.stdout) < ours - 100


def test_on_a_gpu_what_torch_has_allocated_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a GPU that is none: what is asked of torch, and the unit."""
    card = SimpleNamespace(peak=5 * 2**20)
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: card.peak)
    monkeypatch.setattr(
        torch.cuda, "reset_peak_memory_stats", lambda device: setattr(card, "peak", 2**20)
    )
    device = torch.device("cuda:0")
    assert peak_memory(device)["peak_gpu_mib"] == 5.0
    forget_peak(device)
    assert peak_memory(device)["peak_gpu_mib"] == 1.0
