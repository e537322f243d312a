"""What a run folder keeps so that its SupArc answers without the data that it was trained on.

``serving.json``: widths of audio and vision, tokens, score range, the recipe of the features.
``encoder/``: the text encoder's configuration and tokenizer; its weights are among the model's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmsa_suparc.data import reader
from mmsa_suparc.data.text import TOKENS
from mmsa_suparc.errors import UserError
from mmsa_suparc.model import SupArc
from mmsa_suparc.names import SCORE_RANGES
from mmsa_suparc.runs.folder import RunFolder
from mmsa_suparc.runs.trainer import config_of
from mmsa_suparc.toolkit.settings import ModelConfig
from mmsa_suparc.videos.recipe import FROM_VIDEO, Normalisation, Recipe, of_json


@dataclass(frozen=True)
class Serving:
    """A SupArc ready to be asked, and what it wants to be given.

    Args:
        model: in evaluation mode.
        tokenizer: of its text encoder.
        tokens: L, the longest text.
        widths: values a frame by modality.
        score_range: lowest and highest score.
        recipe: how its features were made of videos; None where they were not.
        normalise: by modality; none where no training clip had it.
        config: the run's values.
        seed: of the training.
        encoder: folder with the text encoder's configuration and tokenizer.
        content: what ``serving.json`` holds.
    """

    model: SupArc
    tokenizer: Any
    tokens: int
    widths: dict[str, int]
    score_range: tuple[float, float]
    recipe: Recipe | None
    normalise: dict[str, Normalisation]
    config: dict[str, Any]
    seed: int
    encoder: Path
    content: dict[str, Any]


def write(
    folder: RunFolder,
    args: Any,
    *,
    content: reader.FeatureFile,
    scores: tuple[float, float] | None,
) -> None:
    """Keep what :func:`load` needs, once a run folder.

    Args:
        folder: of the run.
        args: the toolkit's, after its loaders were made.
        content: the feature file.
        scores: lowest and highest score, where they are known.
    """
    from transformers import AutoConfig, AutoTokenizer

    train = content["train"]
    record = record_of(content)
    labels = np.asarray(train["regression_labels"], dtype=float)
    low, high = scores or (float(labels.min()), float(labels.max()))
    AutoConfig.from_pretrained(args["pretrained"]).save_pretrained(folder.encoder)
    AutoTokenizer.from_pretrained(args["pretrained"]).save_pretrained(folder.encoder)
    serving = {
        "widths": {name: int(train[name].shape[2]) for name in FROM_VIDEO},
        "tokens": int(train["text_bert"].shape[2]) if "text_bert" in train else TOKENS,
        "score_range": [low, high],
        "features": record,
    }
    folder.write_serving(serving)


def load(run_dir: Path, seed: int | None = None) -> Serving:
    """The model of a run folder: of a seed, or of the one with the best validation MAE.

    Raises:
        UserError: no finished run of SupArc there, or weights that are not those of the record.
    """
    run = RunFolder(run_dir)
    records = {record["seed"]: record for record in run.records()}
    if not records:
        raise UserError(f"{run_dir}: no finished run here; expected the --run-dir of mmsa run")
    model = next(iter(records.values()))["model"]
    if model != "suparc":
        raise UserError(f"{run_dir}: a run of '{model}'; expected one of suparc")
    if seed is None:
        seed = min(records, key=lambda one: records[one]["metrics"]["valid"]["MAE"])
    if seed not in records:
        known = ", ".join(map(str, sorted(records)))
        raise UserError(f"{run_dir}: no finished seed {seed}; it has {known}")
    folder = run.seed(seed)
    try:
        serving, values = run.read_serving(), folder.read_config()
        named = folder.read_weights(records[seed]["weights"])
    except (OSError, ValueError) as error:
        raise UserError(
            f"{run_dir}: not complete ({error}); a run of an older version? Train again"
        ) from None
    weights = {name.removeprefix("Model."): tensor for name, tensor in named.items()}
    return assemble(serving, values, run.encoder, weights, seed=seed)


def assemble(
    serving: dict[str, Any],
    values: dict[str, Any],
    encoder: Path,
    weights: dict[str, torch.Tensor],
    *,
    seed: int,
) -> Serving:
    """Build the network from its parts and give it its weights.

    Args:
        serving: what ``serving.json`` holds.
        values: the run's configuration.
        encoder: folder with the text encoder's configuration and tokenizer.
        weights: by name, without the toolkit's prefix.
        seed: of the training.
    """
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    widths = serving["widths"]
    model = SupArc.from_config(
        config_of(values),
        transformer=AutoModel.from_config(AutoConfig.from_pretrained(encoder)),
        audio_width=widths["audio"],
        vision_width=widths["vision"],
    )
    model.load_state_dict(weights)
    features = serving["features"]
    low, high = serving["score_range"]
    return Serving(
        model=model.eval().requires_grad_(False),
        tokenizer=AutoTokenizer.from_pretrained(encoder),
        tokens=serving["tokens"],
        widths=widths,
        score_range=(low, high),
        recipe=of_json(features["recipe"]) if features else None,
        normalise={
            name: Normalisation.from_json(features[name]) for name in FROM_VIDEO if name in features
        },
        config=values,
        seed=seed,
        encoder=encoder,
        content=serving,
    )


def record_of(content: reader.FeatureFile) -> dict[str, Any]:
    """What ``mmsa extract`` wrote of a feature file; nothing for other files."""
    try:
        found = json.loads(content["train"].get("recipe", "{}"))
    except (TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def known_range(config: ModelConfig, content: reader.FeatureFile) -> tuple[float, float] | None:
    """Lowest and highest score, where they are known: as the user says, as the file says, or as
    the data set has them."""
    said = config.values.get("score_range")
    if said and "score_range" not in config.chosen:
        said = record_of(content).get("score_range", said)
    return (said[0], said[1]) if said else SCORE_RANGES.get(config.dataset)
