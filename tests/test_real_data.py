"""Real MOSI clips and a real pretrained encoder, where they are at hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mmsa_suparc.data import reader, text
from mmsa_suparc.names import SPLITS

pytestmark = pytest.mark.real_data


def test_its_tokens_are_those_of_the_encoder(real_root: Path, real_encoder: Path) -> None:
    content = reader.read(real_root / "MOSI" / "Processed" / "unaligned_50.pkl")
    kept = text.with_tokens(content, str(real_encoder), "f.pkl")
    for split in SPLITS:
        assert kept[split]["text_bert"] is content[split]["text_bert"]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["suparc", "self_mm", "lf_dnn"])
def test_two_epochs_beat_the_mean(
    model: str, mmsa: Callable, real_root: Path, real_encoder: Path
) -> None:
    status, _, err = mmsa(
        "-m", model, "-d", "mosi", "--data-root", real_root, "--text-encoder", real_encoder,
        "-s", 1111, "--epochs", 2, "--run-dir", "run",
    )  # fmt: skip
    assert status == 0
    measured = json.loads(Path("run/seed-1111/metrics.json").read_text())
    named = measured.get("diagnostics", {}).get("warnings", ())  # terms that do nothing
    assert err.splitlines() == [f"mmsa: seed 1111: {line}" for line in named]
    assert measured["valid"]["MAE"] < 1.35  # a constant prediction is at about 1.4
