"""What runs elsewhere gives the same numbers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import mmsa_suparc
from mmsa_suparc.data.demo import Demo
from mmsa_suparc.runs import servable
from mmsa_suparc.runs.servable import Serving

#: What changes the network.
OPTIONS = (
    "presence_flags=true", "fusion_norm=projection", "standardise=true",
    "sequence_pooling=attention", "shared_dropout=true",
)  # fmt: skip


def trained(folder: Path, *values: str) -> Path:
    from mmsa_suparc.cli import main

    chosen = [word for value in ("mask_vector=learned", *values) for word in ("--set", value)]
    assert main(
        ["-m", "suparc", "-d", "demo", "-s", "1", "--epochs", "1", "-v", "0", "--run-dir",
         str(folder / "run"), "--res-save-dir", str(folder / "table"), *chosen]
    ) == 0  # fmt: skip
    mmsa_suparc.unregister()
    return folder / "run"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, demo: Demo) -> Path:
    return trained(tmp_path_factory.mktemp("export"))


@pytest.fixture(scope="module")
def run_with_options(tmp_path_factory: pytest.TempPathFactory, demo: Demo) -> Path:
    return trained(tmp_path_factory.mktemp("options"), *OPTIONS)


def inputs(served: Serving, clips: int, frames: int, *, tokens: bool) -> tuple[torch.Tensor, ...]:
    chance = torch.Generator().manual_seed(clips + frames)
    audio = torch.randn(clips, frames, served.widths["audio"], generator=chance)
    vision = torch.randn(clips, frames + 3, served.widths["vision"], generator=chance)
    lengths = torch.randint(0, frames + 1, (clips,), generator=chance)
    present = torch.ones(clips, 3, dtype=torch.bool)
    present[0] = torch.tensor([True, False, True])
    text = torch.randn(clips, served.model.text_encoder.width, generator=chance)
    if tokens:
        text = torch.randint(1, 20, (clips, 3, frames + 1), generator=chance)
        text[:, 1] = 1
        text[:, 2] = 0
    return text, audio, vision, lengths, lengths + 3, present


def expected(served: Serving, given: tuple[torch.Tensor, ...], *, tokens: bool) -> torch.Tensor:
    text, audio, vision, audio_lengths, vision_lengths, present = given
    ids = text if tokens else torch.ones(len(audio), 3, 2, dtype=torch.int64)
    encodings = served.model.encode(
        ids, audio, vision, audio_lengths, vision_lengths, None if tokens else text
    )
    return served.model.predict(served.model.fuse(encodings, present))[:, 0]


@pytest.mark.parametrize(
    ("kind", "tokens"),
    [
        ("onnx", True),
        pytest.param("torch", False, marks=pytest.mark.slow),
        pytest.param("onnx", False, marks=pytest.mark.slow),
        pytest.param("torch", True, marks=pytest.mark.slow),
    ],
)
def test_the_file_agrees(kind: str, tokens: bool, run: Path) -> None:
    check(kind, tokens, run)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["onnx", "torch"])
def test_the_file_of_a_network_with_every_option_agrees(kind: str, run_with_options: Path) -> None:
    check(kind, False, run_with_options)


def check(kind: str, tokens: bool, run: Path) -> None:
    more = ["--with-text-encoder"] if tokens else []
    done = subprocess.run(
        [sys.executable, "-m", "mmsa_suparc", "export", "--run", str(run), "--out", "model",
         "--format", kind, *more],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "score, fusion" in done.stdout
    served = servable.load(run)
    if kind == "onnx":
        onnxruntime = pytest.importorskip("onnxruntime")
        session = onnxruntime.InferenceSession("model")
        names = [one.name for one in session.get_inputs()]
    for clips, frames in ((1, 4), (2, 9), (5, 17)):
        given = inputs(served, clips, frames, tokens=tokens)
        if kind == "onnx":
            found = session.run(
                ["score"], {n: g.numpy() for n, g in zip(names, given, strict=True)}
            )[0]
        else:
            found = torch.export.load("model").module()(*given)[0].detach().numpy()
        np.testing.assert_allclose(found, expected(served, given, tokens=tokens).numpy(), atol=1e-4)


def test_mistakes_are_one_line(run: Path, mmsa: Callable, tmp_path: Path) -> None:
    status, _, err = mmsa("export", "--run", "nowhere", "--out", "m")
    assert status == 2
    assert "no finished run here" in err
    status, _, err = mmsa("export", "--run", run, "--out", tmp_path)
    assert status == 2
    assert "is a folder" in err
