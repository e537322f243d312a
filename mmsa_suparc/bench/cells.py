"""A cell of a benchmark: what its result depends on, which is its address.

A cell is one training in a run folder of its own. All here goes without torch and the toolkit, so a
plan is shown at once; ``bench/run_cell.py`` runs a cell.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from mmsa_suparc.bench.folder import CellFolder
from mmsa_suparc.bench.plan import Cell
from mmsa_suparc.config import Layer, effective
from mmsa_suparc.data import fingerprints, reader
from mmsa_suparc.data.cache import key_of
from mmsa_suparc.data.inputs import Input
from mmsa_suparc.data.text import cached_config, find_encoder
from mmsa_suparc.errors import UserError
from mmsa_suparc.runs import identity as identities
from mmsa_suparc.toolkit import catalogue, settings

#: What a training took on a 2-core machine with a 6-layer text encoder, roughly: to start and to
#: be asked, a clip and epoch, and the epochs of models that stop by themselves.
START_SECONDS, CLIP_SECONDS, USUAL_EPOCHS = 10.0, 0.01, 15
#: The parts of the package that can change what a training gives.
TRAINING_CODE = (
    "announced.py", "config.py", "data", "losses", "metrics.py", "model", "names.py", "plugin.py",
    "runs", "toolkit", "training",
)  # fmt: skip


def models_that_run(dataset: str) -> list[str]:
    """Every model that runs here on a data set, SupArc first."""
    names = [entry.name for entry in catalogue.models(dataset) if entry.why_not is None]
    return sorted(names, key=lambda name: name != "suparc")


def identity(cell: Cell, data_root: str | None, *, device: str) -> dict[str, Any]:
    """All that a cell's result depends on; the address of its folder.

    Args:
        cell: the cell.
        data_root: as in ``mmsa run``.
        device: the kind of the device that it will be trained on.

    Raises:
        UserError: it cannot run: an unknown model, key or file, named.
    """
    try:
        config = _config(cell, data_root)
        settings.find_inputs(config.feature_path)
        inputs = identities.of_inputs(config, _encoder(str(config.values["pretrained"])))
    except UserError as error:
        raise UserError(f"{cell.name}: {error}") from None
    return {
        "model": config.model,
        "dataset": config.dataset,
        "seed": cell.seed,
        "values": effective(config.values),
        **inputs,
        **identities.of_surroundings(device, folded=cell.fold is not None),
        "code": fingerprints.of_code(TRAINING_CODE),
    }


def identities_of(
    cells: Iterable[Cell], data_root: str | None, *, device: str
) -> list[dict[str, Any]]:
    """:func:`identity` of each cell; those that differ in their seed alone are looked at once."""
    known: dict[str, dict[str, Any]] = {}
    found = []
    for cell in cells:
        key = key_of(cell.variant, cell.model, cell.dataset, sorted(cell.values.items()))
        if key not in known:
            known[key] = identity(cell, data_root, device=device)
        found.append({**known[key], "seed": cell.seed})
    return found


@cache
def _encoder(name: str) -> str:
    """The encoder, looked for once in a benchmark; where it is not to be had its cells will say
    so. One in the local cache is known by its revision, and need not be looked at."""
    if not Path(name).expanduser().is_dir() and cached_config(name) is not None:
        return name
    try:
        return find_encoder(name)
    except UserError:
        return name


def clips_of(cell: Cell, data_root: str | None) -> reader.FeatureFile:
    """The feature file that a cell reads."""
    return reader.read(_config(cell, data_root).feature_path)


def guessed_seconds(cell: Cell, data_root: str | None) -> float:
    """A guess of what a training takes, from its clips and epochs, where none was timed yet."""
    config, content, fold = _config(cell, data_root), clips_of(cell, data_root), cell.fold
    clips = len(content["train"]["id"])
    if fold is not None:
        clips = sum(len(content[split]["id"]) for split in fold.pool) * (fold.of - 1) // fold.of
    epochs = config.values.get("epochs") or USUAL_EPOCHS
    return START_SECONDS + CLIP_SECONDS * clips * epochs


def guessed_bytes(cell: Cell, data_root: str | None) -> int:
    """About what a cell's weights take on disk: those of its text encoder, where it reads one."""
    config = _config(cell, data_root)
    if not identities.needs_encoder(config):
        return 0
    name = _encoder(config.encoder)
    found = cached_config(name)
    folder = Path(name) if Path(name).is_dir() else found and found.parent
    sizes = {
        kind: sum(path.stat().st_size for path in folder.glob(f"*.{kind}")) if folder else 0
        for kind in ("safetensors", "bin")
    }
    return sizes["safetensors"] or sizes["bin"]


def _config(cell: Cell, data_root: str | None) -> settings.ModelConfig:
    model, dataset = settings.find_model(cell.model), settings.find_dataset(cell.dataset)
    catalogue.require_runnable(model, dataset)
    changed = Layer(f"variant '{cell.variant}'", _known(cell))
    return settings.load(model, dataset, overrides=[changed], data_root=data_root)


def _known(cell: Cell) -> dict[str, Any]:
    """The cell's values; shared ones that its model does not know are left out."""
    values = dict(cell.values)
    known = settings.load(cell.model, cell.dataset).values
    for key in ("epochs", "batch_size", "pretrained", "early_stop"):
        if key in values and key not in known and key != "epochs":
            del values[key]
    return values


def write_spec(
    folder: CellFolder,
    cell: Cell,
    found: dict[str, Any],
    asked: tuple[str, ...],
    data_root: str | None,
    *,
    keep_model: bool,
) -> None:
    """What the cell's process needs to know; whether its weights stay is not part of what it is."""
    spec = {
        "cell": {
            "variant": cell.variant,
            "model": found["model"],
            "dataset": found["dataset"],
            "seed": cell.seed,
            "values": _known(cell),
        },
        "identity": found,
        "probes": list(asked),
        "keep_model": keep_model,
        "data_root": str(Path(_config(cell, data_root).data_root).expanduser().absolute()),
    }
    folder.write_spec(spec)


def address(found: dict[str, Any]) -> str:
    """The name of a cell's folder."""
    return key_of(json.dumps(found, sort_keys=True, default=str))


def inputs_of(folder: CellFolder) -> tuple[Input, ...]:
    """What a cell reads, where this machine has it, and what it holds by the cell's identity."""
    spec = folder.read_spec()
    config, known = config_of(spec), spec["identity"]
    below = str(config.values["featurePath"])
    path = config.feature_path.absolute()
    data = Input(
        "featurePath", str(path), known["data"], "" if Path(below).is_absolute() else below
    )
    if known["encoder"] in ("", "not used"):
        return (data,)
    name = _encoder(str(config.values["pretrained"]))
    if Path(name).is_dir():
        name = str(Path(name).absolute())
    return data, Input("pretrained", name, known["encoder"])


def config_of(spec: dict[str, Any]) -> settings.ModelConfig:
    """The configuration of a cell that was specified here."""
    cell = Cell(**spec["cell"])
    changed = Layer(f"variant '{cell.variant}'", cell.values)
    return settings.load(cell.model, cell.dataset, overrides=[changed], data_root=spec["data_root"])
