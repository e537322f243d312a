"""What else lives in the process is left alone: the toolkit's own training, and everything else."""

from __future__ import annotations

import gc
import logging
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mmsa_suparc.data.demo import Demo
from tests.helpers.patience import patience

TRAIN_THE_TOOLKITS_WAY = """
import hashlib, sys
mode, model_name, path = sys.argv[1:]
if mode != "without":
    import mmsa_suparc
if mode == "registered":
    mmsa_suparc.register()
from MMSA.config import get_config_regression
from MMSA.data_loader import MMDataLoader
from MMSA.models import AMIO
from MMSA.trains import ATIO
from MMSA.utils import setup_seed
args = get_config_regression(model_name, "mosi")
args.update(device="cpu", train_mode="regression", custom_feature=None, feature_T="",
            feature_A="", feature_V="", featurePath=path, model_save_path="weights.pth",
            cur_seed=1, early_stop=0, use_bert=False)
setup_seed(3)
loaders = MMDataLoader(args, 0)
model = AMIO(args)
ATIO().getTrain(args).do_train(model, loaders)
digest = hashlib.sha256()
for name, tensor in sorted(model.state_dict().items()):
    digest.update(tensor.cpu().numpy().tobytes())
print("SHA", digest.hexdigest())
"""


@pytest.mark.parametrize(
    "model",
    ["lf_dnn", *(pytest.param(name, marks=pytest.mark.slow) for name in ("tfn", "lmf"))],
)
def test_the_toolkit_trains_the_same_with_and_without_the_plugin(model: str, demo: Demo) -> None:
    found = {}
    for mode in ("without", "imported", "registered"):
        done = subprocess.run(
            [sys.executable, "-c", TRAIN_THE_TOOLKITS_WAY, mode, model, str(demo.features)],
            capture_output=True, text=True, timeout=patience(120), check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found[mode] = next(x for x in done.stdout.splitlines() if x.startswith("SHA"))
    assert found["imported"] == found["without"]
    assert found["registered"] == found["without"]


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def check_runs(count: int, demo: Demo) -> None:
    from mmsa_suparc import unregister
    from mmsa_suparc.cli import main

    def run(number: int) -> None:
        assert main(
            ["-m", "suparc", "-d", "demo", "-s", "1", "--epochs", "1", "-v", "0",
             "--run-dir", f"run-{number}", "--set", "batch_size=200"]
        ) == 0  # fmt: skip
        unregister()

    run(0)
    run(1)
    gc.collect()
    before = (
        dict(os.environ), open_files(), [len(logging.getLogger(n).handlers) for n in ("", "MMSA")],
        Path.cwd(), torch.get_num_threads(), torch.get_default_dtype(),
    )  # fmt: skip
    memory = int(Path("/proc/self/statm").read_text().split()[1])
    for number in range(2, count):
        run(number)
    gc.collect()
    after = (
        dict(os.environ), open_files(), [len(logging.getLogger(n).handlers) for n in ("", "MMSA")],
        Path.cwd(), torch.get_num_threads(), torch.get_default_dtype(),
    )  # fmt: skip
    assert after == before
    pages = int(Path("/proc/self/statm").read_text().split()[1]) - memory
    assert pages * 4096 < 150 * 2**20


def test_runs_leave_the_process_as_it_was(demo: Demo) -> None:
    check_runs(5, demo)


@pytest.mark.slow
def test_100_runs_leave_the_process_as_it_was(demo: Demo) -> None:
    check_runs(100, demo)


def test_importing_draws_no_random_number() -> None:
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    expected = (random.random(), float(np.random.rand()), float(torch.rand(())))
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    import mmsa_suparc

    mmsa_suparc.register()
    mmsa_suparc.unregister()
    assert (random.random(), float(np.random.rand()), float(torch.rand(()))) == expected
