"""The toolkit's own table of results, shared by all runs, and the search that it has of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mmsa_suparc.data.store import Record
from mmsa_suparc.data.tables import append_rows
from mmsa_suparc.runs import places
from mmsa_suparc.runs import request as requests
from mmsa_suparc.runs.request import Request
from mmsa_suparc.toolkit import calls


def append(request: Request, results: Sequence[Record]) -> None:
    """A row in the table: (mean, standard deviation) over seeds, times 100.

    Once a result: a finished run that is resumed has its row there already.
    """
    given = {
        "table": str(request.table.resolve()),
        "weights": {str(result["seed"]): result["weights"] for result in results},
    }
    if request.table.is_file() and request.folder.table_row() == given:
        return
    row: dict[str, Any] = {"Model": request.config.model}
    for name in results[0]["metrics"]["test"]:
        values = np.array([result["metrics"]["test"][name] for result in results]) * 100
        row[name] = (round(float(values.mean()), 2), round(float(values.std()), 2))
    append_rows(request.table, pd.DataFrame([row]))
    request.folder.keep_table_row(given)


def tune(request: Request, *, times: int, verbose: int) -> Path:
    """The toolkit's random search: ``MMSA_run(is_tune=True)``, scored on validation.

    Returns:
        Its table, a row a set of values.
    """
    requests.validate(request)
    config = request.config
    table = request.result_dir / "tune" / f"{config.dataset}-{config.model}.csv"
    places.try_outputs(replace(request.places, results=table.parent))
    fixed = {key: config.values[key] for key in config.chosen}
    calls.search(
        config.model,
        config.dataset,
        seeds=list(request.seeds[:1]),
        tune_times=times,
        config={**fixed, "featurePath": str(config.feature_path)},
        gpu_ids=[-1 if request.device.type == "cpu" else request.device.index or 0],
        num_workers=request.num_workers,
        verbose_level=verbose,
        model_save_dir=request.model_dir or request.run_dir,
        res_save_dir=request.result_dir,
        log_dir=request.log_dir or request.run_dir,
        **{f"feature_{m}": request.feature_files.get(f"feature_{m}", "") for m in "TAV"},
    )
    return table
