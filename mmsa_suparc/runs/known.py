"""What is known of a trained model beside its weights: what it wants to be given, what its scores
mean. It stands in ``serving.json``, see :mod:`mmsa_suparc.runs.servable`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, Field, FiniteFloat, ValidationError, model_validator

from mmsa_suparc.config import first_of
from mmsa_suparc.data import reader
from mmsa_suparc.data.store import Record
from mmsa_suparc.errors import UserError
from mmsa_suparc.runs.folder import SERVING, RunFolder
from mmsa_suparc.toolkit import registry
from mmsa_suparc.videos.recipe import FROM_VIDEO, Normalisation, Recipe, of_json

#: Values a frame, and tokens a text, at most.
WIDEST, LONGEST = 65_536, 4_096
#: Frames a clip, and values of a clip's frames, at most.
MOST_FRAMES, MOST_VALUES = 100_000, 100_000_000
#: Where a model's text came from: token ids; the encoder's last hidden states; features that were
#: in the file already, of which nobody said how they are made of words.
TextFrom = Literal["tokens", "encoder", "file"]


@dataclass(frozen=True)
class Known:
    """What a trained model wants to be given, and what its scores mean.

    Args:
        tokens: L, the longest text.
        widths: values a frame by modality.
        score_range: lowest and highest score.
        recipe: how its features were made of videos; None where they were not.
        normalise: by modality; none where no training clip had it.
        precision: in which the run computed its own predictions.
        config: the run's values.
        seed: of the training.
        content: what ``serving.json`` holds.
    """

    tokens: int
    widths: dict[str, int]
    score_range: tuple[float, float]
    recipe: Recipe | None
    normalise: dict[str, Normalisation]
    precision: Literal["fp32", "bf16", "fp16"]
    config: dict[str, Any]
    seed: int
    content: dict[str, Any]


@dataclass(frozen=True)
class Form(Known):
    """The shapes with which a model of the toolkit or of a plugin is built, see :class:`Known`.

    Args:
        frames: T by modality: the toolkit's models see padding too.
        text: where its text came from.
        text_width: W of a ``text`` array (L, W).
    """

    frames: dict[str, int]
    text: TextFrom
    text_width: int


class Origin(BaseModel):
    """What a model was made of, for its card.

    Args:
        data: fingerprint of the feature file.
        encoder: of the text encoder.
        test: the test metrics of the run's finished seeds, this model's among them.
    """

    data: Annotated[str, Field(max_length=200)] = ""
    encoder: Annotated[str, Field(max_length=200)] = ""
    test: dict[int, dict[str, float]] = {}


def known_fields(
    content: Content, serving: dict[str, Any], values: dict[str, Any], seed: int
) -> dict[str, Any]:
    """The fields of :class:`Known`."""
    features, widths = content.features, content.widths.model_dump()
    return {
        "tokens": content.tokens,
        "widths": widths,
        "score_range": content.score_range,
        "recipe": of_json(features.get("recipe", {})) if features else None,
        "normalise": {
            name: Normalisation.from_json(features[name], widths[name])
            for name in FROM_VIDEO
            if name in features
        },
        "precision": content.precision,
        "config": values,
        "seed": seed,
        "content": serving,
    }


class _Widths(BaseModel):
    audio: Annotated[int, Field(ge=1, le=WIDEST)]
    vision: Annotated[int, Field(ge=1, le=WIDEST)]


class _Frames(BaseModel):
    audio: Annotated[int, Field(ge=1, le=MOST_FRAMES)]
    vision: Annotated[int, Field(ge=1, le=MOST_FRAMES)]


class Content(BaseModel):
    """``serving.json``."""

    widths: _Widths
    tokens: Annotated[int, Field(ge=3, le=LONGEST)]
    score_range: tuple[FiniteFloat, FiniteFloat]
    features: dict[str, Any] = {}
    seed: int = 0
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    origin: Origin = Origin()
    frames: _Frames | None = None
    text: TextFrom = "tokens"
    text_width: Annotated[int, Field(ge=0, le=WIDEST)] = 0

    @model_validator(mode="after")
    def _in_order(self) -> Content:
        if self.score_range[0] > self.score_range[1]:
            raise ValueError(f"score_range {self.score_range}; expected the lowest score first")
        for name, width in self.widths.model_dump().items():
            frames = getattr(self.frames, name, 1)
            if frames * width > MOST_VALUES:
                raise ValueError(f"{name}: {frames} frames of {width} values; expected fewer")
        return self


def content_of(serving: dict[str, Any]) -> Content:
    try:
        return Content.model_validate(serving)
    except ValidationError as error:
        raise UserError(f"{SERVING}: {first_of(error)}") from None


def form_of(content: reader.FeatureFile, args: Any) -> dict[str, Any]:
    """The part of ``serving.json`` that another model than SupArc needs; see :class:`Form`."""
    widths = {np.shape(fields.get("text", 0))[-1:] for fields in content.values()}
    width, text = int(args["feature_dims"][0]), "encoder"
    if args.get("use_bert") or registry.trainer_offers(args["model_name"], "takes_arrays"):
        text = "tokens"
    elif widths == {(width,)}:
        text = "file"
    train = content["train"]
    length = {"tokens": int(train["text"].shape[1])} if text == "file" else {}
    frames = {name: int(train[name].shape[1]) for name in FROM_VIDEO}
    return {"frames": frames, "text": text, "text_width": width, **length}


def range_of(content: reader.FeatureFile) -> tuple[float, float]:
    """Lowest and highest training score."""
    labels = np.asarray(content["train"]["regression_labels"], dtype=float)
    return float(labels.min()), float(labels.max())


def load_form(run_dir: Path, record: Record) -> Form:
    """What a model that is not SupArc wants to be given.

    Args:
        run_dir: the run folder.
        record: of the seed.

    Raises:
        UserError: the run folder does not tell.
    """
    run, seed = RunFolder(run_dir), int(record["seed"])
    try:
        serving, values = run.read_serving(), run.seed(seed).read_config()
        content = content_of(serving)
        if content.frames is None:
            raise UserError("frames are not there")
    except UserError as error:
        raise UserError(
            f"{run_dir}: not complete ({error}); a run of an older version? Train again"
        ) from None
    return Form(
        **known_fields(content, serving, values, seed), frames=content.frames.model_dump(),
        text=content.text, text_width=content.text_width,
    )  # fmt: skip
