"""What a run folder keeps so that its model answers without the data that it was trained on.

``serving.json``: widths of audio and vision, tokens, score range, the recipe of the features; of a
model that is not SupArc also frames, and where its text came from.
``encoder/``, of SupArc: the text encoder's configuration and tokenizer; its weights are among the
model's. Any other model needs the encoder itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import ValidationError

from mmsa_suparc.config import SupArcConfig, first_of
from mmsa_suparc.data import reader
from mmsa_suparc.data.store import Record
from mmsa_suparc.data.text import TOKENS, loading, tokenise
from mmsa_suparc.errors import UserError, in_a_line
from mmsa_suparc.model import SupArc
from mmsa_suparc.plain_files import read_mapping
from mmsa_suparc.runs.encoder import Shapes, tokenizer_of, transformer_of
from mmsa_suparc.runs.folder import ENCODER, RunFolder
from mmsa_suparc.runs.inputs import record_of
from mmsa_suparc.runs.known import (
    Content,
    Known,
    Origin,
    content_of,
    form_of,
    known_fields,
    range_of,
)
from mmsa_suparc.runs.records import WEIGHTS
from mmsa_suparc.runs.trainer import config_of
from mmsa_suparc.training.checkpoint import load_finite, shapes_of
from mmsa_suparc.videos.recipe import FROM_VIDEO

T = TypeVar("T")


@dataclass(frozen=True)
class Serving(Known):
    """A SupArc ready to be asked, see :class:`Known`.

    Args:
        model: in evaluation mode.
        tokenizer: of its text encoder.
        encoder: folder with the text encoder's configuration and tokenizer.
        origin: what the model was made of, and how good it was.
    """

    model: SupArc
    tokenizer: Any
    encoder: Path
    origin: Origin


def write(
    folder: RunFolder,
    args: Any,
    *,
    content: reader.FeatureFile,
    scores: tuple[float, float] | None,
) -> None:
    """Keep what :func:`load` or :func:`load_form` needs, once a run folder.

    Args:
        folder: of the run.
        args: the toolkit's, after its loaders were made.
        content: the feature file.
        scores: lowest and highest score, where they are known.
    """
    train = content["train"]
    low, high = scores or range_of(content)
    serving = {
        "widths": {name: int(train[name].shape[2]) for name in FROM_VIDEO},
        "tokens": int(train["text_bert"].shape[2]) if "text_bert" in train else TOKENS,
        "score_range": [low, high],
        "features": record_of(content),
    }
    if args["model_name"] == "suparc":
        _keep_encoder(folder, args["pretrained"])
    else:
        serving |= form_of(content, args)
    folder.write_serving(serving)


def _keep_encoder(folder: RunFolder, name: str) -> None:
    from transformers import AutoConfig, AutoTokenizer

    with loading(name) as options:
        for kind in (AutoConfig, AutoTokenizer):
            kind.from_pretrained(name, **options).save_pretrained(folder.encoder)


def load(run_dir: Path, seed: int | None = None) -> Serving:
    """The model of a run folder: of a seed, or of the one with the best validation MAE.

    Raises:
        UserError: no finished run of SupArc there, or weights that are not those of the record.
    """
    run = RunFolder(run_dir)
    records = run.records()
    record = run.to_serve(seed, among=records)
    seed = int(record["seed"])
    folder = run.seed(seed)
    try:
        serving, values = run.read_serving(), folder.read_config()
        shapes = shapes_of(folder.weights)
        content = {
            "precision": folder.read_environment().get("precision", "fp32"),
            **serving,
            "origin": _origin_of(record, records).model_dump(),
        }
    except UserError as error:
        raise UserError(
            f"{run_dir}: not complete ({error}); a run of an older version? Train again"
        ) from None
    return assemble(
        content, values, run.encoder, _unprefixed(shapes), seed=seed,
        weights=lambda: _unprefixed(folder.read_weights(record["weights"])),
    )  # fmt: skip


def _origin_of(record: Record, records: Sequence[Record]) -> Origin:
    found = record["identity"]
    return Origin(
        data=str(found.get("data", "")),
        encoder=str(found.get("encoder", "")),
        test={int(one["seed"]): one["metrics"]["test"] for one in records},
    )


def _unprefixed(named: Mapping[str, T]) -> dict[str, T]:
    """By the network's own names, without those of the toolkit's ``AMIO`` around it."""
    return {name.removeprefix("Model."): value for name, value in named.items()}


def load_saved(folder: Path) -> Serving:
    """The model that ``SupArcPredictor.save_pretrained`` wrote.

    Raises:
        UserError: there is none.
    """
    serving = RunFolder(folder).read_serving()
    values = read_mapping(folder / "config.json")
    shapes = shapes_of(folder / WEIGHTS)
    return assemble(
        serving, values, folder / ENCODER, shapes, seed=content_of(serving).seed,
        weights=lambda: load_finite(folder / WEIGHTS),
    )  # fmt: skip


def assemble(
    serving: dict[str, Any],
    values: dict[str, Any],
    encoder: Path,
    shapes: Shapes,
    *,
    seed: int,
    weights: Callable[[], dict[str, torch.Tensor]],
) -> Serving:
    """Build the network from its parts and give it its weights.

    All parts may come from a stranger: they are held against each other before anything large is
    built or read.

    Args:
        serving: what ``serving.json`` holds.
        values: the run's configuration.
        encoder: folder with the text encoder's configuration and tokenizer.
        shapes: of the weights, by name, without the toolkit's prefix.
        seed: of the training.
        weights: reads them.

    Raises:
        UserError: they do not fit each other, or a part is not what it should be.
    """
    content = content_of(serving)
    config = _config_of(values)
    widths = content.widths.model_dump()

    def network() -> SupArc:
        return SupArc.from_config(
            config, transformer=transformer_of(encoder, shapes),
            audio_width=widths["audio"], vision_width=widths["vision"],
        )  # fmt: skip

    with torch.device("meta"):  # shapes, and no numbers
        _refuse_other_shapes(network(), shapes)
    model = network()
    vocabulary = int(getattr(model.text_encoder.transformer.config, "vocab_size", 0))
    tokenizer = tokenizer_of(encoder, tokens=content.tokens, vocabulary=vocabulary)
    model.load_state_dict(weights())
    model.eval().requires_grad_(False)
    _try(model, tokenizer, content)
    return Serving(
        **known_fields(content, serving, values, seed), model=model, tokenizer=tokenizer,
        encoder=encoder, origin=content.origin,
    )  # fmt: skip


def _config_of(values: dict[str, Any]) -> SupArcConfig:
    try:
        return config_of(values)
    except ValidationError as error:
        raise UserError(f"configuration of the run: {first_of(error)}") from None


def _refuse_other_shapes(network: SupArc, shapes: Shapes) -> None:
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    for name in sorted(expected.keys() | shapes.keys()):
        if expected.get(name) != shapes.get(name):
            raise UserError(
                f"weights: {name} is {shapes.get(name, 'not there')}; by its configuration the "
                f"network has {expected.get(name, 'none')}: not the weights of this run"
            )


def _try(model: SupArc, tokenizer: Any, content: Content) -> None:
    """Score one clip: an encoder may have the right tensors and still not compute."""
    text = torch.as_tensor(tokenise(tokenizer, ["a"], length=content.tokens))
    frames = [torch.zeros(1, 1, width) for width in (content.widths.audio, content.widths.vision)]
    try:
        with torch.inference_mode():
            model.text_encoder.by_its_module(text)  # at the length of the tokenizer
            score = model(text, *frames)["M"]
    except Exception as error:
        raise UserError(
            f"text encoder: it does not compute ({in_a_line(error)}); train again"
        ) from None
    if not bool(torch.isfinite(score).all()):
        raise UserError("weights: they give a score that is not finite; train again")
