"""A model of any kind out of its run folder, asked about clips."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmsa_suparc import plugin
from mmsa_suparc.data import demo, missing
from mmsa_suparc.data.store import Record
from mmsa_suparc.data.text import (
    encoder_fingerprint,
    find_encoder,
    tokenise,
    tokenizer_of,
)
from mmsa_suparc.data.text_states import hidden_states, load_encoder
from mmsa_suparc.errors import UserError
from mmsa_suparc.names import MODALITIES, SPLITS
from mmsa_suparc.runs.folder import RunFolder
from mmsa_suparc.runs.known import Form, load_form
from mmsa_suparc.runs.records import WHY_NO_CLIPS
from mmsa_suparc.runs.trained import Trained, load_trained
from mmsa_suparc.serving.asking import ClipPredictor
from mmsa_suparc.serving.card import public
from mmsa_suparc.serving.inputs import count_of, frames_of
from mmsa_suparc.serving.prediction import Classes, Prediction, Words, metrics_of
from mmsa_suparc.serving.predictor import SupArcPredictor
from mmsa_suparc.videos.media import Limits
from mmsa_suparc.videos.recipe import FROM_VIDEO

#: Said of scores without a modality by a model that is not told what is missing.
ZEROED = "zeroed inputs: {} knows no masks; a modality left out is zeros, an empty sentence"
#: Said of every score by a model that drops frames and tokens itself.
DROPPED = "{} leaves out frames and tokens at random, as in its training (missing_rate)"
#: The toolkit is patched, and reads its random numbers, for one thread at a time.
_one_at_a_time = threading.Lock()


def load_predictor(
    run: str | Path, *, seed: int | None = None, **options: Any
) -> SupArcPredictor | RunPredictor:
    """The trained model of a run folder, whichever it is.

    Args:
        run: the ``--run-dir`` of ``mmsa run``.
        seed: by default the one with the best validation MAE.
        options: ``fet_python``, ``limits``, ``device``, ``precision``, ``batch_size``, ``classes``.

    Raises:
        UserError: no finished run there, or one that cannot be asked.
    """
    record = RunFolder(Path(run).expanduser()).to_serve(seed, any_model=True)
    kind = SupArcPredictor if record["model"] == "suparc" else RunPredictor
    return kind.from_run(run, seed=record["seed"], **options)


class RunPredictor(ClipPredictor):
    """Any other model of a run folder: the toolkit's, or a plugin's.

    Its inputs are read by the toolkit as in training. What a clip lacks, and what is left out, is
    zeros and an empty sentence where the model knows no masks. It is pickled as the place of its
    run folder. Made by :meth:`from_run`.
    """

    serving: Form

    def __init__(
        self,
        folder: RunFolder,
        record: Record,
        *,
        fet_python: str | None = None,
        limits: Limits | None = None,
        device: str = "cpu",
        precision: str | None = None,
        batch_size: int | None = None,
        classes: Classes | None = None,
    ) -> None:
        self.serving = load_form(folder.path, record)
        self._made_of = folder.path.absolute(), int(record["seed"]), {
            "fet_python": fet_python, "limits": limits, "device": device, "precision": precision,
            "batch_size": batch_size, "classes": classes,
        }  # fmt: skip
        self.name = str(record["model"])
        if precision not in (None, "auto", "fp32"):
            raise UserError(f"precision {precision}: {self.name} computes in fp32; expected that")
        self.precision = "fp32"
        values = self.serving.config
        self.words = Words(self.serving.score_range, metrics_of(values), classes)
        self._is_demo = values.get("featurePath") == str(demo.make_demo().features)
        self._encoder = self._find_encoder(record)
        self.tokenizer = None if self._encoder is None else tokenizer_of(self._encoder)
        here = {
            "featurePath": os.devnull, "pretrained": self._encoder or str(values.get("pretrained")),
        }  # fmt: skip
        blank = {split: self._blank(2) for split in SPLITS}
        with _one_at_a_time, plugin.registered():
            try:
                self.trained: Trained = load_trained(
                    folder.path, self.serving.seed, device=device, here=here, content=blank,
                )  # fmt: skip
            except RuntimeError as error:
                why = str(error).splitlines()[-1].strip()
                raise UserError(
                    f"{folder.path}: weights of other shapes than serving.json says ({why}); "
                    "train again"
                ) from None
            self._knows_masks = self.trained.knows_masks
        self.trained.batch_size = batch_size
        said = ("" if self._knows_masks else ZEROED, DROPPED if values.get("data_missing") else "")
        self.caution = "; ".join(each.format(self.name) for each in said if each)
        self.why_no_clips = WHY_NO_CLIPS.get(self.name, "")
        self.begin(fet_python, limits)

    @classmethod
    def from_run(cls, path: str | Path, *, seed: int | None = None, **options: Any) -> RunPredictor:
        """The model of a run folder.

        Args:
            path: the ``--run-dir`` of ``mmsa run``.
            seed: by default the one with the best validation MAE.
            options: as of :meth:`SupArcPredictor.from_run`.

        Raises:
            UserError: no finished run there, or its text encoder is not here.
        """
        folder = RunFolder(Path(path).expanduser())
        return cls(folder, folder.to_serve(seed, any_model=True), **options)

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, self._made_of

    def __repr__(self) -> str:
        values, (low, high) = self.serving.config, self.serving.score_range
        name = values.get("data_name") or values.get("dataset_name")
        encoder = "no text encoder"
        if self._encoder is not None:
            encoder = f"text encoder {public(str(values.get('pretrained')))}"
        return (
            f"RunPredictor({self.name} on {name}, seed {self.serving.seed}, scores {low:g} to "
            f"{high:g}, {encoder}, {self._made_of[2]['device']})"
        )

    def save_pretrained(self, save_directory: str | Path, **_: Any) -> None:
        """Only SupArc has a folder of its own, with a card; here it is refused.

        Raises:
            UserError: always.
        """
        raise UserError(
            f"{save_directory}: a model folder and its card are written of suparc alone, and this "
            f"is {self.name}; hand on its run folder, {self._made_of[0]}"
        )

    @property
    def encoder(self) -> str | None:
        return self._encoder

    def predict_features(
        self, features: Mapping[str, Any], *, present: Iterable[str] = MODALITIES
    ) -> list[Prediction]:
        count = count_of(features)
        chosen = [name for name in MODALITIES if name in set(present)]
        fields, has = self._fields(features, count)
        here = torch.from_numpy(has) & torch.tensor(
            [name in chosen and name in self.used for name in MODALITIES]
        )
        self.require_one(here)
        kept = [chosen, *([other for other in chosen if other != name] for name in MODALITIES)]
        with _one_at_a_time, plugin.registered():
            whole = self._scores(fields, chosen)
            scores = [whole, *(self._scores(fields, some) if some else whole for some in kept[1:])]
        if not np.isfinite(scores).all():
            raise UserError("a score that is not finite; expected other weights: train again")
        texts = features.get("raw_text")
        return [
            self.prediction(
                torch.tensor([float(each[place]) for each in scores]),
                here[place],
                None if texts is None else str(texts[place]),
            )
            for place in range(count)
        ]

    def _find_encoder(self, record: Record) -> str | None:
        """Where the run's text encoder is; None where its text did without one."""
        if self.serving.text == "file" and not self._is_demo:
            return None
        found = find_encoder(str(self.serving.config.get("pretrained")))
        wanted = record["identity"].get("encoder")
        if wanted not in (None, "", "not used") and encoder_fingerprint(found) != wanted:
            raise UserError(
                f"text encoder {found}: not what the run was trained with (contents differ); "
                "put that one there, or train again"
            )
        return found

    def _scores(self, fields: Mapping[str, Any], kept: list[str]) -> np.ndarray:
        """(N,), of these modalities alone."""
        return self.trained.score(missing.without(fields, kept, knows_masks=self._knows_masks))

    def _blank(self, count: int) -> dict[str, Any]:
        """So many clips without anything, as a split of a feature file has them."""
        form = self.serving
        fields: dict[str, Any] = {"id": np.arange(count).astype(str), "raw_text": [""] * count}
        for suffix in ("", "_T", "_A", "_V"):
            fields[f"regression_labels{suffix}"] = np.zeros(count, np.float32)
        for name in FROM_VIDEO:
            shape = (count, form.frames[name], form.widths[name])
            fields[name] = np.zeros(shape, np.float32)
            fields[f"{name}_lengths"] = np.zeros(count, np.int64)
        if form.text == "tokens":
            fields["text_bert"] = np.zeros((count, 3, form.tokens), np.int64)
        else:
            fields["text"] = np.zeros((count, form.tokens, form.text_width), np.float32)
        return fields

    def _fields(self, features: Mapping[str, Any], count: int) -> tuple[dict[str, Any], np.ndarray]:
        """The clips as a split of a feature file has them, and what they have: (N, 3)."""
        fields = self._blank(count)
        fields["raw_text"] = np.array([str(t) for t in features.get("raw_text", [""] * count)])
        has = np.zeros((count, len(MODALITIES)), dtype=bool)
        has[:, 0] = [bool(text.strip()) for text in fields["raw_text"]]
        for place, name in enumerate(MODALITIES):
            if name == "text":
                continue
            frames, lengths = frames_of(features, name, self.serving.widths[name], count)
            longest = self.serving.frames[name]
            if lengths.max() > longest:
                raise UserError(
                    f"{name}: clips of up to {lengths.max()} frames; this model was trained on at "
                    f"most {longest}: cut them"
                )
            fields[name][:, : frames.shape[1]] = frames[:, :longest]
            fields[f"{name}_lengths"], has[:, place] = lengths, lengths > 0
        name = "text_bert" if self.serving.text == "tokens" else "text"
        fields[name] = self._text(features, fields["raw_text"])
        return fields, has

    def _text(self, features: Mapping[str, Any], texts: np.ndarray) -> np.ndarray:
        """Tokens (N, 3, L), or a ``text`` array (N, L, W), of clips."""
        form = self.serving
        if form.text == "file" and "text" in features:
            given = np.asarray(features["text"], np.float32)
            if given.shape[1:] != (form.tokens, form.text_width):
                raise UserError(
                    f"text: shape {given.shape}; this model expects (clips, {form.tokens}, "
                    f"{form.text_width})"
                )
            return given
        if self.tokenizer is None:
            if any(text.strip() for text in texts):
                raise UserError(
                    f"{self.name} was trained on text features of its file, of which nobody said "
                    "how they are made of words; train on a file without the field text (mmsa "
                    "extract), or use --features"
                )
            return np.zeros((len(texts), form.tokens, form.text_width), np.float32)
        tokens = features.get("text_bert")
        made_here = tokens is None or np.shape(tokens)[1:] != (3, form.tokens)
        if made_here:
            with self._tokenising:
                tokens = tokenise(self.tokenizer, list(texts), length=form.tokens)
        if form.text == "tokens":
            return np.asarray(tokens)
        if form.text == "file":
            return demo.text_features(np.asarray(tokens))
        states = hidden_states(self._text_encoder, np.asarray(tokens))
        if made_here:  # a text that is missing is as one that is left out
            states[[not text.strip() for text in texts]] = 0
        return states

    @cached_property
    def _text_encoder(self) -> Any:
        return load_encoder(str(self._encoder))


def _again(folder: Path, seed: int, options: dict[str, Any]) -> RunPredictor:
    return RunPredictor.from_run(folder, seed=seed, **options)
