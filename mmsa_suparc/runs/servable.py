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
import yaml
from safetensors.torch import load_file

from mmsa_suparc.data import reader, store
from mmsa_suparc.data.files import write_text
from mmsa_suparc.data.text import TOKENS
from mmsa_suparc.errors import UserError
from mmsa_suparc.model import SupArc
from mmsa_suparc.names import SCORE_RANGES
from mmsa_suparc.runs.trainer import config_of, network
from mmsa_suparc.toolkit.settings import ModelConfig
from mmsa_suparc.training.state import sha256
from mmsa_suparc.videos.recipe import FROM_VIDEO, Normalisation, Recipe, of_json

SERVING, ENCODER = "serving.json", "encoder"


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
    run_dir: Path, args: Any, *, content: reader.FeatureFile, scores: tuple[float, float] | None
) -> None:
    """Keep what :func:`load` needs, once a run folder.

    Args:
        run_dir: the run folder.
        args: the toolkit's, after its loaders were made.
        content: the feature file.
        scores: lowest and highest score, where they are known.
    """
    from transformers import AutoConfig, AutoTokenizer

    train = content["train"]
    record = record_of(content)
    labels = np.asarray(train["regression_labels"], dtype=float)
    low, high = scores or (float(labels.min()), float(labels.max()))
    folder = run_dir / ENCODER
    AutoConfig.from_pretrained(args["pretrained"]).save_pretrained(folder)
    AutoTokenizer.from_pretrained(args["pretrained"]).save_pretrained(folder)
    serving = {
        "widths": {name: int(train[name].shape[2]) for name in FROM_VIDEO},
        "tokens": int(train["text_bert"].shape[2]) if "text_bert" in train else TOKENS,
        "score_range": [low, high],
        "features": record,
    }
    write_text(run_dir / SERVING, json.dumps(serving) + "\n")


def load(run_dir: Path, seed: int | None = None) -> Serving:
    """The model of a run folder: of a seed, or of the one with the best validation MAE.

    Raises:
        UserError: no finished run of SupArc there, or weights that are not those of the record.
    """
    records = {record["seed"]: record for record in store.read(run_dir / "records.jsonl")}
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
    folder = run_dir / f"seed-{seed}"
    try:
        serving = json.loads((run_dir / SERVING).read_text(encoding="utf-8"))
        values = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        found = sha256(folder / "model.safetensors")
    except (OSError, ValueError) as error:
        raise UserError(
            f"{run_dir}: not complete ({error}); a run of an older version? Train again"
        ) from None
    if found != records[seed]["weights"]:
        raise UserError(
            f"{folder / 'model.safetensors'}: not the weights that were written (checksum differs)"
        )
    weights = {
        name.removeprefix("Model."): tensor
        for name, tensor in load_file(folder / "model.safetensors").items()
    }
    return assemble(serving, values, run_dir / ENCODER, weights, seed=seed)


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
    model = network(
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
