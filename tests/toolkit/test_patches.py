"""The seam into the toolkit: in force when asked, gone without a trace, one test a repair."""

from __future__ import annotations

import ast
import logging
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import mmsa_suparc
from mmsa_suparc import plugin
from mmsa_suparc.data.demo import Demo
from mmsa_suparc.errors import ConfigError, DivergedError, UserError
from mmsa_suparc.toolkit import modules, patching

FAST = {"epochs": 1, "batch_size": 16}


def snapshot() -> dict[str, dict[str, Any]]:
    """Every module and class of the toolkit, name by name."""
    modules.module("run")
    found: dict[str, dict[str, Any]] = {}
    for name, module in list(sys.modules.items()):
        if name == "MMSA" or name.startswith("MMSA."):
            found[name] = dict(vars(module))
            for key, value in vars(module).items():
                if isinstance(value, type) and value.__module__.startswith("MMSA"):
                    found[f"{name}:{key}"] = dict(vars(value))
    assert len(found) > 60
    return found


def identities(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, int]]:
    return {n: {k: id(v) for k, v in values.items()} for n, values in found.items()}


def test_round_trip_leaves_the_toolkit_as_it_was() -> None:
    before = snapshot()
    for _ in range(2):
        mmsa_suparc.register()
        mmsa_suparc.register()
        changed = identities(snapshot())
        assert changed != identities(before)
        mmsa_suparc.unregister()
        mmsa_suparc.unregister()
        assert identities(snapshot()) == identities(before)


def test_other_libraries_are_never_touched() -> None:
    import pickle

    import tqdm
    from torch.utils.data import DataLoader

    watched = {
        "torch": torch, "torch.cuda": torch.cuda, "pandas": pd, "numpy": np, "pickle": pickle,
        "tqdm": tqdm, "DataLoader": DataLoader,
    }  # fmt: skip
    before = {name: dict(vars(owner)) for name, owner in watched.items()}
    mmsa_suparc.register()
    after = {name: dict(vars(owner)) for name, owner in watched.items()}
    mmsa_suparc.unregister()
    for name in watched:
        assert {k: id(v) for k, v in before[name].items()} == {
            k: id(v) for k, v in after[name].items() if k in before[name]
        }


def test_registering_draws_no_random_number_and_sets_no_variable() -> None:
    modules.module("run")
    states = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    variables = dict(os.environ)
    mmsa_suparc.register()
    mmsa_suparc.unregister()
    assert variables == dict(os.environ)
    assert states == (
        random.getstate(),
        np.random.get_state()[1].tolist(),
        torch.get_rng_state().tolist(),
    )


def test_a_missing_symbol_is_named_and_nothing_stays_patched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = snapshot()
    run = modules.module("run")
    for name in ("assign_gpu", "_run", "_set_logger"):
        with monkeypatch.context() as patch:
            patch.delattr(run, name)
            with pytest.raises(patching.PatchError, match=rf"MMSA\.run\.{name}"):
                patching.apply(plugin.PATCHES)
        assert patching.in_force() == ()
    assert identities(snapshot()) == identities(before)


@pytest.mark.usefixtures("registered")
class TestRuns:
    def test_suparc_on_the_embedded_data_set(self, run_in: Callable) -> None:
        table = run_in("suparc", config=FAST)
        assert table["Model"].tolist() == ["suparc"]
        mean, deviation = ast.literal_eval(table["Corr"][0])
        assert 0 < mean < 100
        assert deviation == 0

    def test_suparc_on_mosi_by_the_environment(
        self, run_in: Callable, small_root: Path, demo: Demo, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MMSA_DATA_ROOT", str(small_root))
        table = run_in("suparc", "mosi", config={**FAST, "pretrained": str(demo.encoder)})
        assert len(table) == 1

    def test_cells_are_plain_and_other_columns_are_added(
        self, run_in: Callable, tmp_path: Path
    ) -> None:
        path = tmp_path / "res_save_dir" / "normal" / "demo.csv"
        path.parent.mkdir(parents=True)
        path.write_text('Model,Other\nold,"(1.0, 2.0)"\n')
        table = run_in("lf_dnn", config=FAST)
        assert table["Model"].tolist() == ["old", "lf_dnn"]
        assert ast.literal_eval(table["Other"][0]) == (1.0, 2.0)
        assert isinstance(ast.literal_eval(table["MAE"][1])[0], float)

    def test_a_config_file_is_merged_over_the_defaults(
        self, run_in: Callable, tmp_path: Path
    ) -> None:
        path = tmp_path / "mine.yaml"
        path.write_text("epochs: 1\nweight_triplet: 0\n")
        assert len(run_in("suparc", config_file=path)) == 1

    def test_unknown_names_and_keys_are_errors(self, run_in: Callable) -> None:
        with pytest.raises(UserError, match="unknown model 'suprac'; did you mean 'suparc'"):
            run_in("suprac")
        with pytest.raises(UserError, match="unknown data set 'mossi'"):
            run_in("suparc", "mossi")
        with pytest.raises(ConfigError, match="unknown key 'bach_size'"):
            run_in("suparc", config={"bach_size": 3})
        with pytest.raises(UserError, match="--data-root"):
            run_in("suparc", "mosi")

    def test_never_improving_is_an_error_not_an_old_score(
        self, run_in: Callable, tmp_path: Path
    ) -> None:
        run_in("lf_dnn", config=FAST)  # leaves weights behind
        weights = list((tmp_path / "model_save_dir").iterdir())
        assert [path.name for path in weights] == ["lf_dnn-demo-1.pth"]
        with pytest.raises(DivergedError):
            run_in("lf_dnn", config={**FAST, "learning_rate": 1e30})
        assert len(pd.read_csv(tmp_path / "res_save_dir" / "normal" / "demo.csv")) == 1

    def test_log_handlers_do_not_pile_up(self, run_in: Callable) -> None:
        logger = logging.getLogger("MMSA")
        run_in("lf_dnn", config=FAST)
        count = len(logger.handlers)
        run_in("lf_dnn", config=FAST)
        assert len(logger.handlers) == count
        mmsa_suparc.unregister()
        assert len(logger.handlers) == count - 2

    def test_tuning_scores_validation_and_keeps_a_table(
        self, run_in: Callable, tmp_path: Path
    ) -> None:
        import MMSA

        folders = {name: tmp_path / name for name in ("model_save_dir", "res_save_dir", "log_dir")}
        MMSA.MMSA_run(
            "suparc", "demo", seeds=[1], is_tune=True, tune_times=2, num_workers=0,
            verbose_level=0, config={"epochs": 1}, **folders,
        )  # fmt: skip
        table = pd.read_csv(tmp_path / "res_save_dir" / "tune" / "demo-suparc.csv")
        assert 1 <= len(table) <= 2  # a set drawn twice is tried once
        assert {"threshold", "margin", "MAE"} <= set(table.columns)
        assert list((tmp_path / "model_save_dir").iterdir()) == []

    def test_evaluation_is_in_order_and_training_draws_the_same_numbers(self) -> None:
        args = modules.module("run").get_config_regression("lf_dnn", "demo")
        args.update(custom_feature=None, feature_T="", feature_A="", feature_V="")
        torch.manual_seed(5)
        loaders = modules.module("run").MMDataLoader(args, 0)
        seen = {split: [int(i) for b in loaders[split] for i in b["index"]] for split in loaders}
        torch.manual_seed(5)
        plain = {
            split: [
                int(i)
                for b in torch.utils.data.DataLoader(
                    loaders[split].dataset, args["batch_size"], shuffle=True
                )
                for i in b["index"]
            ]
            for split in loaders
        }
        assert seen["train"] == plain["train"] != sorted(plain["train"])
        for split in ("valid", "test"):
            assert seen[split] == sorted(plain[split])

    def test_widths_and_counts_come_from_the_data(self, small_root: Path, demo: Demo) -> None:
        args = modules.module("run").get_config_regression("self_mm", "demo")
        args.update(
            custom_feature=None, feature_T="", feature_A="", feature_V="",
            featurePath=str(small_root / "MOSI/Processed/unaligned_50.pkl"),
        )  # fmt: skip
        modules.module("run").MMDataLoader(args, 0)
        assert args.train_samples == 21
        assert args.feature_dims == [64, 12, 16]
        assert list(args.seq_lens) == [25, 25, 25]
        assert args.text_out == 64
