"""Benchmark files: what they ask for, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mmsa_suparc.bench import plan
from mmsa_suparc.config import SupArcConfig, plugin_configs, read_file
from mmsa_suparc.errors import ConfigError, UserError

SHIPPED = sorted((plugin_configs() / "bench").glob("*.yaml"))


def write(path: Path, **content: object) -> Path:
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def test_a_grid_of_variants_data_sets_and_seeds(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.yaml", title="A", data_sets=["demo", "mosi"], seeds=[1, 2],
        shared={"epochs": 3, "margin": 0.2},
        variants={"ours": {"model": "suparc", "set": {"margin": 0.0}}, "tfn": {}},
    )  # fmt: skip
    made = plan.make_plan(plan.read(path))
    assert len(made.cells) == 8
    first = made.cells[0]
    assert (first.variant, first.model, first.dataset, first.seed) == ("ours", "suparc", "demo", 1)
    assert first.values == {"epochs": 3, "margin": 0.0}
    assert (made.variants, made.datasets, made.seeds) == (["ours", "tfn"], ["demo", "mosi"], [1, 2])
    assert made.reference == "ours"
    other = plan.make_plan(plan.read(path), data_sets=["demo"], seeds=[7], shared={"epochs": 1})
    assert [(c.variant, c.seed, c.values["epochs"]) for c in other.cells] == [
        ("ours", 7, 1),
        ("tfn", 7, 1),
    ]
    some = plan.make_plan(plan.read(path), only=["tfn"])
    assert (some.variants, some.reference) == (["tfn"], "tfn")
    with pytest.raises(ConfigError, match="no variant 'our'; did you mean 'ours'"):
        plan.make_plan(plan.read(path), only=["our"])


def test_sweeps_and_all_models(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.yaml", data_sets=["demo"], seeds=[1], all_models=True,
        variants={"S": {"model": "suparc", "sweep": {"margin": [0.0, 0.1], "threshold": [1.0]}}},
    )  # fmt: skip
    made = plan.make_plan(plan.read(path), models_for={"demo": ["suparc", "lmf"]})
    assert made.variants == ["S, margin=0.0, threshold=1.0", "S, margin=0.1, threshold=1.0", "lmf"]


def test_includes_are_merged_below(tmp_path: Path) -> None:
    write(tmp_path / "below.yaml", seeds=[1], variants={"a": {}, "b": {}}, probes=["noise"])
    path = write(
        tmp_path / "a.yaml", include=["below.yaml"], seeds=[2], data_sets=["demo"],
        variants={"b": {"model": "tfn"}}, probes=["missing"],
    )  # fmt: skip
    file = plan.read(path)
    assert (file.seeds, file.probes) == ([2], ["noise", "missing"])
    assert {name: variant.model for name, variant in file.variants.items()} == {"a": "", "b": "tfn"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"seed": [1]}, "unknown key 'seed'; did you mean 'seeds'"),
        ({"seeds": "many"}, "seeds = 'many'"),
        ({"variants": {"a": {"sets": {}}}}, "variants.a.sets"),
        ({"probes": ["noises"]}, "unknown 'noises'; did you mean 'noise'"),
        ({"include": ["absent.yaml"]}, "no file"),
        ({"include": ["a.yaml"]}, "includes itself"),
    ],
)
def test_mistakes_are_named(content: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        plan.read(write(tmp_path / "a.yaml", **content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "names no data set; expected data_sets: [demo], or -d NAME"),
        ({"data_sets": ["demo"]}, "names no seed; expected seeds: [1111], or -s N"),
        ({"data_sets": ["demo"], "seeds": [1]}, "names no variant; expected variants: "),
        (
            {"data_sets": ["demo"], "seeds": [1], "variants": {"a": {"sweep": {"margin": []}}}},
            "a sweep without values leaves no variant",
        ),
    ],
)
def test_where_nothing_is_to_run_the_file_and_what_it_lacks_are_named(
    content: dict, message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.yaml", **content)
    with pytest.raises(ConfigError) as told:
        plan.make_plan(plan.read(path))
    assert str(told.value).startswith(f"{path}: {message}")
    titled = plan.BenchFile(title="Mine", **content)
    with pytest.raises(ConfigError, match=r"^benchmark 'Mine': "):
        plan.make_plan(titled)


def test_an_unknown_reference_is_refused(tmp_path: Path) -> None:
    path = write(
        tmp_path / "b.yaml", data_sets=["demo"], seeds=[1], variants={"ours": {}}, reference="our"
    )
    with pytest.raises(ConfigError, match="reference 'our' is no variant; did you mean 'ours'"):
        plan.make_plan(plan.read(path))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_files_make_plans_of_known_values(path: Path) -> None:
    file = plan.read(path)
    made = plan.make_plan(file, models_for={"mosi": ["suparc", "tfn"], "mosei": ["tfn"]})
    assert len(made.cells) >= 9
    known = {*SupArcConfig.model_fields, "epochs"}
    for variant in file.variants.values():
        if variant.model == "suparc":
            assert set(variant.set) | set(variant.sweep) <= known


def test_a_seed_given_twice_is_refused(tmp_path: Path) -> None:
    file = plan.read(write(tmp_path / "b.yaml", data_sets=["demo"], variants={"suparc": {}}))
    with pytest.raises(ConfigError, match="seed 1 twice"):
        plan.make_plan(file, seeds=[1, 2, 1])


def test_files_are_found_by_name() -> None:
    assert {path.stem for path in SHIPPED} >= {
        "baselines", "ablation", "threshold", "missing", "quick", "study",
    }  # fmt: skip
    assert plan.find_file("quick").name == "quick.yaml"
    with pytest.raises(UserError, match="did you mean 'quick'"):
        plan.find_file("quik")
    with pytest.raises(UserError) as error:
        plan.find_file("nope")
    assert str(error.value).count("baselines") == 1


def test_every_option_of_the_method_has_a_variant_of_its_own() -> None:
    file = plan.read(plugin_configs() / "bench" / "options.yaml")
    tried = {key for variant in file.variants.values() for key in variant.set}
    assert tried >= {
        "presence_flags", "mask_vector", "fusion_norm", "standardise", "shared_dropout",
        "contrastive_batch_size", "text_pooling", "sequence_pooling", "layer_decay", "ema",
        "schedule", "bucket_by_length", "sampling",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["options", "ablation"])
def test_every_variant_is_a_step_from_the_shipped_settings_of_mosi(name: str) -> None:
    shipped = read_file(plugin_configs() / "suparc.yaml")
    values = {**shipped["shared"], **shipped["datasets"]["mosi"]}
    file = plan.read(plugin_configs() / "bench" / f"{name}.yaml")
    same = [
        name
        for name, variant in file.variants.items()
        if SupArcConfig(**{**values, **variant.set}) == SupArcConfig(**values)
    ]
    assert same == [file.reference]
