"""Layers, precedence and error messages of the configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from mmsa_suparc.config import (
    Layer,
    SupArcConfig,
    assignments,
    merge,
    plugin_configs,
    read_file,
    schema_from,
    sections,
    validate,
)
from mmsa_suparc.errors import ConfigError, UserError
from mmsa_suparc.toolkit import settings

pytestmark = pytest.mark.usefixtures("registered")


def load(tmp_path: Path, *, file: object = None, sets: tuple = (), **options: object):
    path = None
    if file is not None:
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(file))
    return settings.load(
        options.pop("model", "suparc"),
        options.pop("dataset", "mosi"),
        config_file=path,
        overrides=[assignments(sets)],
        **options,
    )


def test_precedence_from_defaults_to_the_command_line(tmp_path: Path) -> None:
    shared = load(tmp_path)
    assert shared.values["batch_size"] == 16
    assert shared.sources["batch_size"] == "suparc.yaml: shared"
    data_set = load(tmp_path, dataset="mosei")
    assert data_set.values["batch_size"] == 32
    assert data_set.sources["batch_size"] == "suparc.yaml: mosei"
    file = load(tmp_path, dataset="mosei", file={"batch_size": 8})
    assert file.values["batch_size"] == 8
    assert file.sources["batch_size"] == str(tmp_path / "mine.yaml")
    line = load(tmp_path, dataset="mosei", file={"batch_size": 8}, sets=("batch_size=4",))
    assert line.values["batch_size"] == 4
    assert line.sources["batch_size"] == "--set"
    assert line.values["epochs"] == data_set.values["epochs"]


def test_a_file_is_merged_not_substituted(tmp_path: Path) -> None:
    file = {"shared": {"margin": 0.3}, "datasets": {"mosi": {"threshold": 0.7}, "sims": {}}}
    config = load(tmp_path, file=file)
    assert (config.values["margin"], config.values["threshold"]) == (0.3, 0.7)
    assert config.values["temperature"] == load(tmp_path).values["temperature"]


def test_the_toolkits_json_is_understood(tmp_path: Path) -> None:
    from mmsa_suparc.toolkit import installed

    content = json.loads(json.dumps(installed.default_config()))
    content["datasetCommonParams"]["dataset_root_dir"] = "/elsewhere"
    content["self_mm"]["datasetParams"]["mosi"]["batch_size"] = 7
    path = tmp_path / "toolkit.json"
    path.write_text(json.dumps(content))
    config = settings.load("self_mm", "mosi", config_file=path)
    assert config.values["batch_size"] == 7
    assert config.feature_path == Path("/elsewhere/MOSI/Processed/unaligned_50.pkl")
    entry = tmp_path / "entry.yaml"
    entry.write_text("commonParams: {early_stop: 3}\ndatasetParams: {mosi: {H: 2.0}}\n")
    config = settings.load("self_mm", "mosi", config_file=entry)
    assert (config.values["early_stop"], config.values["H"]) == (3, 2.0)


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (("treshold=0.5",), "--set: unknown key 'treshold'; did you mean 'threshold'?"),
        (("margin=wide",), "--set: margin = 'wide'"),
        (("temperature=0",), "--set: temperature = 0: should be greater than 0"),
        (("epochs=2.5",), "--set: epochs = 2.5"),
        (("batch_size=0",), "--set: batch_size = 0"),
        (("epochs=true",), "--set: epochs = True: expected a number, found true or false"),
        (("margin_on=all",), "--set: margin_on = 'all'"),
        (("margin=.inf",), "--set: margin = inf"),
        (("KeyEval=MEA",), "did you mean 'MAE'"),
        (("margin",), "--set 'margin': expected key=value"),
        (("margin.deep=1",), "--set: margin = "),
    ],
)
def test_errors_name_source_and_key(tmp_path: Path, sets: tuple, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(tmp_path, sets=sets)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ({"treshold": 1}, "mine.yaml: unknown key 'treshold'; did you mean 'threshold'?"),
        ({"shared": {}, "mosi": {}}, "unknown section 'mosi'"),
        ({"model_name": "tfn", "margin": 1}, "is of model 'tfn'; this run is of 'suparc'"),
        ({"datasets": {"sims": {"margin": 1}}}, "says nothing of model 'suparc' on data set"),
    ],
)
def test_errors_in_a_file_name_it(tmp_path: Path, file: dict, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(tmp_path, file=file)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1, 2", "line"),
        ("- 1\n- 2\n", "found list"),
        ("just words", "found str"),
        ("!!python/object/apply:os.getcwd []", "line 1: a tag"),
    ],
)
def test_unreadable_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_file(path)
    with pytest.raises(UserError, match="No such file"):
        read_file(tmp_path / "absent.yaml")


def test_toolkit_models_are_checked_too(tmp_path: Path) -> None:
    config = load(tmp_path, model="mult", sets=("learning_rate=5e-4", "epochs=3"))
    assert config.values["learning_rate"] == 5e-4
    assert config.values["epochs"] == 3
    for sets, message in (
        (("learning_rat=1",), "did you mean 'learning_rate'"),
        (("update_epochs=two",), "update_epochs = 'two'"),
        (("attn_mask=maybe",), "attn_mask = 'maybe'"),
        (("KeyEval=MAE",), "use Loss"),
    ):
        with pytest.raises(ConfigError) as error:
            load(tmp_path, model="mult", sets=sets)
        assert message in str(error.value)


def test_numbers_in_exponent_form_are_numbers(tmp_path: Path) -> None:
    # YAML 1.1 reads 5e-5 as a string.
    path = tmp_path / "mine.yaml"
    path.write_text("learning_rate_text: 5e-6\n")
    assert settings.load("suparc", "mosi", config_file=path).values["learning_rate_text"] == 5e-6


def test_dotted_keys_nest() -> None:
    layer = assignments(["a.b=1", "a.c=x", "d=[1, 2]"])
    assert layer.values == {"a": {"b": 1, "c": "x"}, "d": [1, 2]}
    merged = merge([Layer("below", {"a": {"b": 0, "z": 9}}), layer])
    assert merged.values["a"] == {"b": 1, "z": 9, "c": "x"}


def test_data_root_from_option_environment_or_toolkit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "MMSA-Standard" in str(load(tmp_path).feature_path)
    monkeypatch.setenv("MMSA_DATA_ROOT", "/from-environment")
    assert load(tmp_path).feature_path.is_relative_to("/from-environment")
    assert load(tmp_path, data_root="/option").feature_path.is_relative_to("/option")


def test_shipped_file_is_valid_on_every_data_set_and_holds_every_value() -> None:
    content = read_file(plugin_configs() / "suparc.yaml")
    names = [*content["datasets"], "another"]
    assert {"mosi", "mosei", "sims", "simsv2", "demo"} < set(names)
    for name in names:
        layers = list(sections(content, "suparc.yaml", model="suparc", dataset=name))
        validate(merge(layers), SupArcConfig)
    assert set(content["shared"]) == set(SupArcConfig.model_fields)
    assert set(content["tune"]) < set(SupArcConfig.model_fields)


def test_schema_from_defaults_keeps_types() -> None:
    schema = schema_from("Toy", {"rate": 0.1, "count": 3, "name": "x", "on": True, "dims": [1, 2]})
    good = {"rate": "1e-3", "count": 4, "name": "y", "on": False, "dims": [3]}
    assert validate(merge([Layer("t", good)]), schema)["rate"] == 1e-3
    for bad in ({"rate": "fast"}, {"count": 1.5}, {"name": 3}, {"on": "x"}, {"dims": 3}):
        with pytest.raises(ConfigError):
            validate(merge([Layer("t", bad)]), schema)
