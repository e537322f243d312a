"""A cell of a benchmark: one training in a run folder of its own, and what is asked of it after.

``mmsa cell FOLDER`` runs the cell whose ``spec.json`` lies in FOLDER; the benchmark starts one
such process a cell.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from mmsa_suparc import plugin
from mmsa_suparc.bench import probes
from mmsa_suparc.bench.folder import CellFolder
from mmsa_suparc.bench.plan import Cell
from mmsa_suparc.config import Layer
from mmsa_suparc.data import fingerprints, reader
from mmsa_suparc.data.cache import key_of
from mmsa_suparc.data.files import write_text
from mmsa_suparc.data.inputs import Input
from mmsa_suparc.data.text import find_encoder
from mmsa_suparc.errors import InUseError, UserError
from mmsa_suparc.runs import identity as identities
from mmsa_suparc.runs.request import Request
from mmsa_suparc.runs.run import run
from mmsa_suparc.runs.seeds import find_feature_file
from mmsa_suparc.runs.trained import load_trained
from mmsa_suparc.toolkit import catalogue, settings
from mmsa_suparc.training.runtime import find_device
from mmsa_suparc.training.stop import Stop

#: Seconds to wait for a process that still works in the cell's folder.
PATIENCE = 60
#: What a training took on a 2-core machine with a 6-layer text encoder, roughly: to start and to
#: be asked, a clip and epoch, and the epochs of models that stop by themselves.
START_SECONDS, CLIP_SECONDS, USUAL_EPOCHS = 10.0, 0.01, 15
#: The parts of the package that can change what a training gives.
TRAINING_CODE = (
    "config.py", "data", "losses", "metrics.py", "model", "names.py", "plugin.py", "runs",
    "toolkit", "training",
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
        find_feature_file(config.feature_path)
        inputs = identities.of_inputs(config, _encoder(str(config.values["pretrained"])))
    except UserError as error:
        raise UserError(f"{cell.name}: {error}") from None
    return {
        "model": config.model,
        "dataset": config.dataset,
        "seed": cell.seed,
        "values": config.values,
        **inputs,
        **identities.of_surroundings(device),
        "code": fingerprints.of_code(TRAINING_CODE),
    }


@cache
def _encoder(name: str) -> str:
    """The encoder, looked for once in a benchmark; where it is not to be had its cells will say
    so."""
    try:
        return find_encoder(name)
    except UserError:
        return name


def guessed_seconds(cell: Cell, data_root: str | None) -> float:
    """A guess of what a training takes, from its clips and epochs, where none was timed yet."""
    config = _config(cell, data_root)
    clips = len(reader.read(config.feature_path)["train"]["id"])
    epochs = config.values.get("epochs") or USUAL_EPOCHS
    return START_SECONDS + CLIP_SECONDS * clips * epochs


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
) -> None:
    """What the cell's process needs to know."""
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
        "data_root": str(Path(_config(cell, data_root).data_root).expanduser().absolute()),
    }
    folder.write_spec(spec)


def address(found: dict[str, Any]) -> str:
    """The name of a cell's folder."""
    return key_of(json.dumps(found, sort_keys=True, default=str))


def inputs_of(folder: CellFolder) -> tuple[Input, ...]:
    """What a cell reads, where this machine has it, and what it holds by the cell's identity."""
    spec = folder.read_spec()
    config, known = _config_of(spec), spec["identity"]
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


def _config_of(spec: dict[str, Any]) -> settings.ModelConfig:
    """The configuration of a cell that was specified here."""
    cell = Cell(**spec["cell"])
    changed = Layer(f"variant '{cell.variant}'", cell.values)
    return settings.load(cell.model, cell.dataset, overrides=[changed], data_root=spec["data_root"])


def run_cell(folder: CellFolder, here: Mapping[str, str] | None = None) -> None:
    """Train, or go on training, then probe; nothing where all is there.

    Args:
        folder: the cell's.
        here: where this machine has what the cell reads, by key of the configuration, if the
            cell was specified on another one. Its values, and so its identity, stay those of
            there.
    """
    spec = folder.read_spec()
    cell = Cell(**spec["cell"])
    plugin.register()
    config = _config_of(spec)
    if here:
        named = {key: spec["identity"]["values"][key] for key in ("featurePath", "pretrained")}
        config = replace(config, values={**config.values, **named}, here=here)
    request = Request(
        config=config,
        seeds=(cell.seed,),
        run_dir=folder.path,
        device=find_device(None),
        result_dir=folder.toolkit,
        resume=True,
    )
    _train(request)
    missing = [name for name in spec["probes"] if not folder.probe(name).is_file()]
    if missing or not folder.labels.is_file():
        trained = load_trained(folder.path, cell.seed, device=request.device, here=here)
        write_text(folder.labels, trained.scores().to_csv(index=False))
        for name in missing:
            probes.run_probe(name, trained, folder)


def _train(request: Request) -> None:
    """The cell's run; it waits for one that a killed benchmark left and that is about to end."""
    stop = Stop()
    deadline = time.monotonic() + PATIENCE
    with stop.listening():
        while True:
            try:
                run(request, on_epoch=_tell, stop=stop)
                return
            except InUseError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)


def _tell(row: dict[str, Any]) -> None:
    """An epoch, for the log and for the benchmark's display."""
    print(f"epoch {row['epoch']}: valid Loss {row['valid_Loss']:.4f}", flush=True)
