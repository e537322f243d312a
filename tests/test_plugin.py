"""Models of others in the toolkit: registered, replaced, taken back, announced by packages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field

import mmsa_suparc
from mmsa_suparc.errors import ConfigError, UserError
from mmsa_suparc.toolkit import modules, registry, settings
from tests.helpers import toy
from tests.helpers.command import mmsa_in_a_process


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    yield
    mmsa_suparc.unregister()
    for name in set(registry.registered()) - {"suparc"}:
        mmsa_suparc.unregister_model(name)


def test_register_model_runs_and_survives_a_round_trip(run_in: Callable) -> None:
    toy.register_toy()
    table = run_in("toy")
    assert set(table.columns) == {"Model", "MAE", "Loss"}
    mmsa_suparc.unregister()
    mmsa_suparc.register()
    assert "toy" in settings.model_names()
    assert modules.module("run").get_config_regression("toy", "demo").toy_rate == 0.02
    assert modules.module("run").get_config_regression("toy", "mosi").toy_rate == 0.01


@pytest.mark.parametrize("config", [None, {"toy_rate": 0.1}, {"commonParams": {"toy_rate": 0.1}}])
def test_ways_to_give_a_configuration(config: Any) -> None:
    mmsa_suparc.register_model("toy", toy.ToyModel, toy.ToyTrainer, config)
    args = modules.module("run").get_config_regression("toy", "mosi")
    assert args.get("toy_rate") == (0.1 if config else None)
    assert args.need_data_aligned is False


def test_taken_and_odd_names_are_refused() -> None:
    mmsa_suparc.register()
    for name, message in (
        ("tfn", "toolkit has a model"), ("suparc", "is taken"), ("Toy Model", "lower case"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=message):
            mmsa_suparc.register_model(name, toy.ToyModel, toy.ToyTrainer)


@pytest.mark.parametrize("target", ["register_toy", "SPECIFICATION", "NAMED"])
def test_an_installed_package_announces_its_model(target: str, tmp_path: Path) -> None:
    """A real distribution on the path, in a process of its own, through the command."""
    info = tmp_path / "site" / "toy_model-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-model\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[mmsa.models]\ntoy = toy_package:{target}\nbroken = toy_package:absent\n"
    )
    source = Path(toy.__file__).read_text()
    (tmp_path / "site" / "toy_package.py").write_text(source)
    path = (str(tmp_path / "site"),)
    done = mmsa_in_a_process("-m", "toy", "-d", "demo", "--run-dir", "toy-run", path=path)
    assert done.returncode == 0, done.err
    assert Path("toy-run/seed-1111/predictions.csv").is_file()
    listed = mmsa_in_a_process("models", path=path)
    assert "toy" in listed.out
    assert "failed to load" in " ".join(listed.out.split())


def a_cell() -> tuple[type, type]:
    """What a notebook's cell defines, anew each time it runs."""

    class Model(toy.ToyModel):
        pass

    class Trainer(toy.ToyTrainer):
        pass

    return Model, Trainer


def test_the_same_cell_may_run_twice_and_its_newest_classes_count() -> None:
    mmsa_suparc.register_model("toy", *a_cell(), {"toy_rate": 0.1})
    again = a_cell()
    mmsa_suparc.register_model("toy", *again, {"toy_rate": 0.1})
    entry = registry.registered()["toy"]
    assert (entry.model, entry.trainer) == again


@pytest.mark.parametrize("config", [{"toy_rate": 0.2}, {}])
def test_another_model_of_that_name_needs_overwrite(config: dict) -> None:
    mmsa_suparc.register_model("toy", *a_cell(), {"toy_rate": 0.1})
    with pytest.raises(UserError, match=r"'toy' is taken by .*overwrite=True"):
        mmsa_suparc.register_model("toy", *a_cell(), config)
    with pytest.raises(UserError, match="taken"):
        mmsa_suparc.register_model("toy", toy.ToyModel, toy.ToyTrainer, {"toy_rate": 0.1})
    mmsa_suparc.register_model("toy", toy.ToyModel, toy.ToyTrainer, config, overwrite=True)
    assert registry.registered()["toy"].model is toy.ToyModel
    with pytest.raises(UserError, match="toolkit has a model"):
        mmsa_suparc.register_model("tfn", *a_cell(), overwrite=True)


def test_a_model_is_taken_back() -> None:
    mmsa_suparc.register_model("toy", *a_cell())
    assert "toy" in settings.model_names()
    mmsa_suparc.unregister_model("toy")
    assert "toy" not in settings.model_names()
    with pytest.raises(UserError, match="'toyy' is not registered"):
        mmsa_suparc.unregister_model("toyy")
    mmsa_suparc.register_model("toy", *a_cell(), {"toy_rate": 0.3})


def test_a_schema_of_its_own_has_ranges() -> None:
    class Schema(BaseModel):
        toy_rate: float = Field(0.1, gt=0)

    mmsa_suparc.register_model("toy", *a_cell(), {"toy_rate": 0.1}, schema=Schema)
    assert settings.load("toy", "mosi").values["toy_rate"] == 0.1
    mmsa_suparc.register_model("toy", *a_cell(), {"toy_rate": -1.0}, schema=Schema, overwrite=True)
    with pytest.raises(ConfigError, match=r"toy_rate = -1.0: should be greater than 0"):
        settings.load("toy", "mosi")


def test_what_a_trainer_offers_is_found_by_its_name() -> None:
    mmsa_suparc.register()
    for ability in ("shares_batches", "takes_arrays"):
        assert registry.trainer_offers("suparc", ability)
        assert not registry.trainer_offers("tfn", ability)
    mmsa_suparc.register_model("toy", *a_cell())
    assert not registry.trainer_offers("toy", "takes_arrays")
    assert set(registry.AbleTrainer.__annotations__) == {
        "shares_batches", "takes_arrays", "states", "should_stop", "on_epoch",
    }  # fmt: skip
