"""The other seeds of a run, asked beside the one that is served: how far their scores lie apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmsa_suparc.runs.records import Records
from mmsa_suparc.serving.any_model import load_predictor
from mmsa_suparc.serving.asking import ClipPredictor


def others(run: Path, served: int, most: int, **options: Any) -> list[ClipPredictor]:
    """Predictors of a run's other finished seeds, in the order of their numbers.

    Each is a whole model in memory.

    Args:
        run: the run folder.
        served: the seed that is not wanted again.
        most: at most so many.
        options: of :func:`load_predictor`.

    Raises:
        UserError: a seed that cannot be served.
    """
    seeds = sorted({int(record["seed"]) for record in Records(run).records()} - {served})
    return [load_predictor(run, seed=seed, **options) for seed in seeds[:most]]
