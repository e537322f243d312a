"""Running a cell of a benchmark: its training, and what is asked of the model after.

``mmsa cell FOLDER`` runs the cell whose ``spec.json`` lies in FOLDER; the benchmark starts one
such process a cell.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mmsa_suparc import plugin
from mmsa_suparc.bench import probes
from mmsa_suparc.bench.cells import config_of
from mmsa_suparc.bench.folder import CellFolder, epoch_line
from mmsa_suparc.bench.plan import Cell
from mmsa_suparc.data.files import write_text
from mmsa_suparc.errors import InUseError
from mmsa_suparc.runs.request import Request
from mmsa_suparc.runs.run import run
from mmsa_suparc.runs.trained import Trained, load_trained
from mmsa_suparc.training.runtime import find_device
from mmsa_suparc.training.stop import Stop

#: Seconds to wait for a process that still works in the cell's folder.
PATIENCE = 60


def run_cell(folder: CellFolder, here: Mapping[str, str] | None = None) -> None:
    """Train, or go on training, then probe; nothing where all is there. A training whose weights
    were not kept is done once more where a probe needs them.

    Args:
        folder: the cell's.
        here: where this machine has what the cell reads, by key of the configuration, if the
            cell was specified on another one. Its values, and so its identity, stay those of
            there.
    """
    spec = folder.read_spec()
    cell = Cell(**spec["cell"])
    plugin.register()
    config = config_of(spec)
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
    if not folder.is_done(tuple(spec["probes"])) and folder.lacks_model():
        print("no model was kept, and a probe needs it: trained again", flush=True)
        folder.start_over()
    _train(request)
    missing = [name for name in spec["probes"] if not folder.probe(name).is_file()]
    if missing or not folder.labels.is_file():
        trained = load_trained(folder.path, cell.seed, device=request.device, here=here)
        _keep_words(trained, folder)
        write_text(folder.labels, trained.scores().to_csv(index=False))
        for name in missing:
            probes.run_probe(name, trained, folder)
    if not spec.get("keep_model", True):
        request.folder.seed(cell.seed).remove_weights()


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


def _keep_words(trained: Trained, folder: CellFolder) -> None:
    """For the report's table of clips, which is made where the feature file may not be."""
    texts = getattr(trained.loaders["test"].dataset, "raw_text", None)
    if texts is not None:
        ids = trained.ids("test")
        folder.keep_words({name: str(text) for name, text in zip(ids, texts, strict=True)})


def _tell(row: dict[str, Any]) -> None:
    """An epoch, for the log and for the benchmark's display."""
    print(epoch_line(row), flush=True)
