"""A trained model, asked: predictors, export, the page.

Importing this loads none of them; a name is imported when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmsa_suparc.serving.any_model import RunPredictor, load_predictor
    from mmsa_suparc.serving.asking import ClipPredictor
    from mmsa_suparc.serving.prediction import Prediction
    from mmsa_suparc.serving.predictor import SupArcPredictor

__all__ = ["ClipPredictor", "Prediction", "RunPredictor", "SupArcPredictor", "load_predictor"]

_LAZY = {
    "ClipPredictor": "mmsa_suparc.serving.asking",
    "Prediction": "mmsa_suparc.serving.prediction",
    "RunPredictor": "mmsa_suparc.serving.any_model",
    "SupArcPredictor": "mmsa_suparc.serving.predictor",
    "load_predictor": "mmsa_suparc.serving.any_model",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
