"""The configuration of a model on a data set, merged from every place that may speak of it."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmsa_suparc.config import (
    Layer,
    extended,
    merge,
    read_file,
    schema_from,
    section,
    sections,
    validate,
)
from mmsa_suparc.data.demo import make_demo
from mmsa_suparc.errors import ConfigError, UserError, nearest, shown
from mmsa_suparc.names import MODALITIES, SPLITS
from mmsa_suparc.toolkit import installed, registry
from mmsa_suparc.toolkit.checks import check
from mmsa_suparc.toolkit.datasets import CUSTOM, NEWER_DATASETS, dataset_names, treated_as

#: What every model's ``args`` must hold for the toolkit's loader and runner.
LOADER_DEFAULTS: dict[str, Any] = {
    "need_data_aligned": False,
    "need_model_aligned": False,
    "need_normalized": False,
    "use_bert": True,
    "batch_size": 32,
    "early_stop": 8,
    "KeyEval": "Loss",
    "pretrained": "bert-base-uncased",
    "transformers": "bert",
    "language": "en",
    "modalities": list(MODALITIES),
    "fold": "",  # K/N: the K-th fold of N instead of the file's splits
    "pool": list(SPLITS),
}
ENVIRONMENT_DATA_ROOT = "MMSA_DATA_ROOT"


@dataclass(frozen=True)
class ModelConfig:
    """Typed values in force for one model on one data set, and the source of each."""

    model: str
    dataset: str
    values: dict[str, Any]
    sources: dict[str, str]
    data_root: str
    tune: Mapping[str, Any]
    chosen: frozenset[str]  # keys that the user set
    #: Where this machine has what the values name, if they were written on another one:
    #: ``featurePath``, ``pretrained``.
    here: Mapping[str, str] = field(default_factory=dict)

    @property
    def data_name(self) -> str:
        """What to call the data: the data set, or the name that the user gave his own."""
        return str(self.values.get("data_name", self.dataset))

    @property
    def feature_path(self) -> Path:
        """The feature file: as configured, below the data root where it is relative.

        Raises:
            UserError: data of one's own, and no file was named.
        """
        if not self.values["featurePath"]:
            raise UserError(f"-d {self.dataset}: name the feature file with --features FILE")
        return Path(self.here.get("featurePath", self.named_feature_path))

    @property
    def named_feature_path(self) -> Path:
        """The same as the values name it, on whichever machine they were written."""
        return Path(self.data_root).expanduser() / str(self.values["featurePath"])

    @property
    def encoder(self) -> str:
        """The text encoder: a folder, or a name on the hub."""
        return str(self.here.get("pretrained", self.values["pretrained"]))

    def tunable(self) -> Mapping[str, Any]:
        """Lists of values to tune over.

        Raises:
            UserError: the model declares none.
        """
        if not self.tune:
            raise UserError(f"model '{self.model}' declares no values to tune over")
        return self.tune


def model_names() -> list[str]:
    """Every model: the toolkit's, in its order, then the registered ones."""
    ours = registry.registered()
    return [*(name for name in installed.model_names() if name not in ours), *ours]


def find_model(name: str) -> str:
    """The model's name in the registries.

    Raises:
        UserError: unknown; names the nearest.
    """
    if name.lower() not in model_names():
        hint = nearest(name, model_names())
        raise UserError(f"unknown model {shown(name)}{hint} (see: mmsa models)")
    return name.lower()


def find_dataset(name: str) -> str:
    """The data set's name.

    Raises:
        UserError: unknown; names the nearest.
    """
    if name.lower() not in dataset_names():
        raise UserError(
            f"unknown data set {shown(name)}{nearest(name, dataset_names())} (see: mmsa datasets)"
        )
    return name.lower()


def find_inputs(path: Path, feature_files: Mapping[str, str] | None = None) -> None:
    """Refuse feature files that are not there.

    Args:
        path: of the feature file.
        feature_files: files to take modalities from, by ``feature_T``, ``feature_A``,
            ``feature_V``.

    Raises:
        UserError: says how to set the data root, or names the option.
    """
    if not path.is_file():
        raise UserError(
            f"no feature file at {path}: set the data root (the folder that holds "
            f"{Path(*path.parts[-3:])}) with --data-root DIR or {ENVIRONMENT_DATA_ROOT}"
        )
    for flag, name in (feature_files or {}).items():
        if not Path(name).is_file():
            raise UserError(f"-F{flag[-1].lower()} {name}: no such file")


def load(
    model: str,
    dataset: str,
    *,
    config_file: str | Path | None = None,
    overrides: Iterable[Layer] = (),
    data_root: str | None = None,
) -> ModelConfig:
    """Merge and check: defaults < shared < data set < ``config_file`` < ``overrides``.

    Args:
        model: a name in the registries.
        dataset: a name in :func:`dataset_names`.
        config_file: YAML or the toolkit's JSON; merged over the defaults.
        overrides: layers above the file, lowest first (``--set``, flags).
        data_root: ``--data-root``; otherwise ``MMSA_DATA_ROOT``, the file's
            ``dataset_root_dir``, the toolkit's own.

    Raises:
        UserError: the model has no configuration for this data set.
        ConfigError: an unknown key, a wrong type, a value out of range.
    """
    below = list(_default_layers(model, dataset))
    defaults = merge(below)
    roots = [data_root, os.environ.get(ENVIRONMENT_DATA_ROOT)]
    above: list[Layer] = []
    if config_file:
        content = read_file(config_file)
        found = list(sections(content, str(config_file), model=model, dataset=dataset))
        if content and not any(layer.values for layer in found):
            raise ConfigError(
                f"{config_file}: says nothing of model '{model}' on data set '{dataset}'"
            )
        above += found
        roots.append(_root_in(content, str(config_file)))
    above += overrides
    roots.append(installed.default_config()["datasetCommonParams"]["dataset_root_dir"])

    entry = registry.registered().get(model)
    if entry is not None and entry.schema is not None:
        schema = extended(entry.schema, defaults.values)
    else:
        schema = schema_from("Config", {"epochs": None, **defaults.values})
    merged = merge([*below, *above])
    values = validate(merged, schema)
    sources = {key: merged.sources.get(key, "built-in default") for key in values}
    check(values, sources, own_trainer=entry is not None, own_data=dataset == "custom")
    tune = (entry.config.get("tune") if entry else _toolkit_tune(model)) or {}
    root = next(root for root in roots if root)
    chosen = frozenset(key for layer in above for key in layer.values)
    return ModelConfig(model, dataset, values, sources, root, tune, chosen)


def _default_layers(model: str, dataset: str) -> Iterator[Layer]:
    """What is known before the user says anything, lowest first."""
    yield Layer("plugin defaults", LOADER_DEFAULTS)
    base = treated_as(dataset)
    toolkit_config = installed.default_config()
    entry = registry.registered().get(model)
    if entry is None:
        if base not in toolkit_config[model]["datasetParams"]:
            known = ", ".join(toolkit_config[model]["datasetParams"])
            raise UserError(f"the toolkit configures model '{model}' for {known}, not '{dataset}'")
        common = toolkit_config[model]["commonParams"]
        if "use_bert" not in common:
            yield Layer("plugin defaults", {"use_bert": False})
        yield from sections(toolkit_config, "toolkit", model=model, dataset=base)
    else:
        data = toolkit_config["datasetCommonParams"][base]
        yield Layer(f"toolkit: datasetCommonParams.{base}", dict(data["unaligned"]))
        yield from sections(entry.config, entry.source, model=model, dataset=dataset)
    if dataset != base and dataset in NEWER_DATASETS:
        yield Layer("newer toolkit", {"featurePath": NEWER_DATASETS[dataset][1]})
    if dataset == "custom":
        yield Layer("data of one's own", CUSTOM)
    if dataset == "demo":
        demo = make_demo()
        yield Layer(
            "embedded data set",
            {"featurePath": str(demo.features), "pretrained": str(demo.encoder), "language": "en"},
        )


def _root_in(content: Mapping[str, Any], source: str) -> str | None:
    """The data root that a file in the toolkit's format names."""
    root = section(content, source, "datasetCommonParams").values.get("dataset_root_dir")
    if root is not None and not isinstance(root, str):
        raise ConfigError(f"{source}: dataset_root_dir = {shown(root)}: expected a folder")
    return root


def _toolkit_tune(model: str) -> dict[str, Any]:
    entry = installed.default_config("tune").get(model) or {}
    return dict(entry.get("debugParams") or {})


def args_for(config: ModelConfig) -> Any:
    """The toolkit's ``args``: an EasyDict of the values and the names of model and data set."""
    from easydict import EasyDict

    return EasyDict(
        {
            **config.values,
            "pretrained": config.encoder,
            "model_name": config.model,
            "dataset_name": config.dataset,
            "featurePath": str(config.feature_path) if config.values["featurePath"] else "",
            "train_samples": config.values.get("train_samples", 0),
        }
    )


def run_args(
    config: ModelConfig,
    *,
    device: Any,
    checkpoint: Path,
    ordinal: int = 1,
    feature_files: Mapping[str, str] | None = None,
) -> Any:
    """``args`` with what the toolkit's runner adds for one seed.

    Args:
        config: of the model on the data set.
        device: a ``torch.device`` or its name.
        checkpoint: where the trainer keeps its best weights while training.
        ordinal: the seed is the first, the second … of the run.
        feature_files: other files to take modalities from, by ``feature_T``, ``feature_A``,
            ``feature_V``.
    """
    args = args_for(config)
    args.update(
        device=device, train_mode="regression", custom_feature=None, cur_seed=ordinal,
        model_save_path=checkpoint,
        **{"feature_T": "", "feature_A": "", "feature_V": "", **(feature_files or {})},
    )  # fmt: skip
    return args


def toolkit_args(model_name: str, dataset_name: str, config_file: str | Path = "") -> Any:
    """Stands in for the toolkit's ``get_config_regression``."""
    default = installed.config_folder() / "config_regression.json"
    own = config_file if config_file and Path(config_file) != default else None
    return args_for(load(find_model(model_name), find_dataset(dataset_name), config_file=own))


def toolkit_tune_args(
    model_name: str,
    dataset_name: str,
    config_file: str | Path = "",
    random_choice: bool = True,
) -> Any:
    """Stands in for the toolkit's ``get_config_tune``: values drawn from the declared lists."""
    default = installed.config_folder() / "config_tune.json"
    own = config_file if config_file and Path(config_file) != default else None
    model, dataset = find_model(model_name), find_dataset(dataset_name)
    config = load(model, dataset)
    if own:
        tuned = section(read_file(own), str(own), model, "debugParams").values
        config = replace(config, tune=tuned)
    tune, args = config.tunable(), args_for(config)
    names = tune.get("d_paras") or list(tune)
    args.update({key: value for key, value in tune.items() if key not in names})
    for name in names:
        choices = tune.get(name, args.get(name))
        if isinstance(choices, Mapping):
            args[name] = {k: random.choice(v) if random_choice else v for k, v in choices.items()}
        elif isinstance(choices, (list, tuple)):
            args[name] = random.choice(choices) if random_choice else choices
    args["d_paras"] = names
    return args
