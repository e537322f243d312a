"""A trained SupArc, asked: features or a video in, a score out, and what each modality did."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from huggingface_hub import ModelHubMixin, snapshot_download
from torch import Tensor

from mmsa_suparc.errors import UserError
from mmsa_suparc.model.suparc import Encodings
from mmsa_suparc.names import MODALITIES
from mmsa_suparc.runs import servable
from mmsa_suparc.runs.folder import ENCODER, SERVING, WEIGHTS
from mmsa_suparc.runs.trainer import config_of
from mmsa_suparc.serving import many, timeline
from mmsa_suparc.serving.card import card, public
from mmsa_suparc.serving.inputs import clips_of
from mmsa_suparc.serving.prediction import (
    EXTRAPOLATION,
    Classes,
    Prediction,
    Words,
    metrics_of,
)
from mmsa_suparc.training.checkpoint import save_weights
from mmsa_suparc.training.evaluation import predict
from mmsa_suparc.training.runtime import Precision, Runtime
from mmsa_suparc.videos.extraction import shaped
from mmsa_suparc.videos.fet import ClipFeatures, Extractor
from mmsa_suparc.videos.media import ClipError, Limits
from mmsa_suparc.videos.recipe import FROM_VIDEO, Recipe


class SupArcPredictor(ModelHubMixin):
    """A SupArc of a run folder; several threads may ask it, and it may be pickled.

    ``SupArcPredictor.from_run("runs/mine").predict(video="clip.mp4", text="I like it")``.

    ``save_pretrained``, ``from_pretrained`` and ``push_to_hub`` are huggingface_hub's.

    Args:
        served: the model and what it wants to be given.
        fet_python: the Python of MMSA-FET's environment.
        limits: on what a video may cost.
        device: ``cpu``, ``cuda`` …
        precision: of the text encoder, as in a configuration; by default the one in which the
            run computed its own predictions (fp32 for fp16 on a CPU, which lacks it).
        batch_size: clips scored at a time; by default the run's ``evaluation_batch_size``. In
            mixed precision another one shows in the last digits.
        classes: 2, 3, 5 or 7: labels with the bins of the metrics, see
            :func:`mmsa_suparc.metrics.classes`.

    Raises:
        UserError: a batch size below 1, or classes that the run's metrics do not have.
    """

    def __init__(
        self,
        served: servable.Serving,
        *,
        fet_python: str | None = None,
        limits: Limits | None = None,
        device: str = "cpu",
        precision: Precision | None = None,
        batch_size: int | None = None,
        classes: Classes | None = None,
    ) -> None:
        self.serving = served
        self.words = Words(served.score_range, metrics_of(served.config), classes)
        self.batch_size = batch_size or config_of(served.config).evaluation_batch_size
        if self.batch_size < 1:
            raise UserError(f"batch_size {batch_size}; expected at least 1")
        # What save_pretrained writes as config.json: nothing of this machine's folders.
        self._hub_mixin_config = {
            key: public(value) if key == "pretrained" else value
            for key, value in served.config.items()
            if key != "featurePath"
        }
        self.runtime = _runtime(torch.device(device), precision, served.precision)
        self.model = served.model.to(self.runtime.device)
        self.model.text_encoder.weights_change = False
        self._fet_python, self._limits = fet_python, limits
        self._begin()

    def _begin(self) -> None:
        """What belongs to this process."""
        self._tokenising = threading.Lock()  # a fast tokenizer keeps its settings in itself
        self._extractor: Extractor | None = None
        if self.serving.recipe is not None:
            self._extractor = Extractor(
                self.serving.recipe, python=self._fet_python, limits=self._limits
            )

    def __getstate__(self) -> dict[str, Any]:
        mine = ("_tokenising", "_extractor")
        return {name: value for name, value in self.__dict__.items() if name not in mine}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def __repr__(self) -> str:
        values, (low, high) = self.serving.config, self.serving.score_range
        name = values.get("data_name") or values.get("dataset_name")
        return (
            f"SupArcPredictor({name}, seed {self.serving.seed}, scores {low:g} to {high:g}, "
            f"text encoder {public(str(values.get('pretrained')))} in {self.runtime.precision}, "
            f"{self.runtime.device})"
        )

    @classmethod
    def from_run(
        cls, path: str | Path, *, seed: int | None = None, **options: Any
    ) -> SupArcPredictor:
        """The model of a run folder.

        Args:
            path: the ``--run-dir`` of ``mmsa run``.
            seed: by default the one with the best validation MAE.
            options: ``fet_python``, ``limits``, ``device``, ``precision``, ``batch_size``,
                ``classes`` of the constructor.

        Raises:
            UserError: no finished run of SupArc there.
        """
        return cls(servable.load(Path(path).expanduser(), seed), **options)

    def close(self) -> None:
        """End the process that extracts features, if one was started."""
        if self._extractor is not None:
            self._extractor.close()

    def predict(
        self,
        *,
        video: str | Path | None = None,
        text: str | None = None,
        present: Iterable[str] = MODALITIES,
    ) -> Prediction:
        """Score a clip.

        Args:
            video: file; without one, audio and vision are missing.
            text: what is said; without it, text is missing.
            present: the modalities to use.

        Raises:
            ClipError: the video cannot be used.
            UserError: nothing to score, or a model that was not trained on features of videos.
        """
        found = ClipFeatures(None, None, (), 0.0) if video is None else self.extract(video)
        return self.predict_clip(found, text=text, present=present)

    def extract(self, video: str | Path) -> ClipFeatures:
        """The features that this model was trained on, of a video."""
        if self._extractor is None:
            raise UserError(
                "this model was trained on features of which nobody said how they are made; "
                "expected a run on a file of mmsa extract. Use --features"
            )
        return self._extractor(video)

    def predict_clip(
        self, clip: ClipFeatures, *, text: str | None, present: Iterable[str] = MODALITIES
    ) -> Prediction:
        """Score a clip whose features were extracted before; see :meth:`predict`."""
        (found,) = self._score([clip], [text], tuple(present))
        if isinstance(found, ClipError):
            raise found
        return found

    def predict_many(
        self,
        clips: pd.DataFrame | Iterable[Mapping[str, Any]],
        *,
        present: Iterable[str] = MODALITIES,
    ) -> pd.DataFrame:
        """Score many clips; one that cannot be used stops nobody.

        Args:
            clips: a row or mapping each, with ``video`` (or ``path``), ``text`` or both, and
                ``id`` where it has a name.
            present: the modalities to use.

        Returns:
            A row a clip, in order: ``clip`` (its ``id``, else its video, else its place), the
            fields of :class:`Prediction` (``warnings`` in one text), and ``error``: why it has no
            score, else empty.

        Raises:
            UserError: a row with neither video nor text, or videos for a model that was not
                trained on features of videos.
        """
        kept = tuple(present)
        return many.table_of(
            clips, extract=self.extract, score=lambda some, texts: self._score(some, texts, kept)
        )

    def predict_over_time(
        self,
        video: str | Path | ClipFeatures,
        *,
        every: float,
        text: str | None = None,
        present: Iterable[str] = MODALITIES,
    ) -> pd.DataFrame:
        """Score a video window by window.

        Args:
            video: a file, or the features that :meth:`extract` gave of it.
            every: seconds of a window.
            text: what is said in the whole clip; it counts in every window.
            present: the modalities to use.

        Returns:
            A row a window: ``start`` and ``end`` in seconds, the fields of :class:`Prediction`,
            and ``error``: why it has no score, else empty.

        Raises:
            ClipError: the video cannot be used.
            UserError: a number of seconds that makes no windows.
        """
        clip = video if isinstance(video, ClipFeatures) else self.extract(video)
        parts = timeline.windows(clip, every)
        found = self._score([part for *_, part in parts], [text] * len(parts), tuple(present))
        table = many.as_table([f"{start:g}" for start, *_ in parts], found)
        times = {"start": [start for start, *_ in parts], "end": [end for _, end, _ in parts]}
        return pd.concat([pd.DataFrame(times), table.drop(columns="clip")], axis=1)

    def _score(
        self, clips: Sequence[ClipFeatures], texts: Sequence[str | None], present: tuple[str, ...]
    ) -> list[Prediction | ClipError]:
        """A prediction a clip, or why there is none."""
        recipe = self.serving.recipe or Recipe()
        arrays: dict[str, Any] = {"raw_text": np.array([text or "" for text in texts], object)}
        notes = [list(clip.notes) for clip in clips]
        for name in FROM_VIDEO:
            frames, lengths = shaped(clips, name, recipe, self.serving.normalise)
            if frames.shape[2] != self.serving.widths[name]:
                frames = np.zeros((len(clips), 1, self.serving.widths[name]), dtype=np.float32)
            for clip, length, said in zip(clips, lengths, notes, strict=True):
                had = getattr(clip, name)
                if had is not None and not length:
                    said.append(f"{name} left out: no training clip had it")
                elif had is not None and len(had) > length:
                    said.append(f"{name}: cut after {length} of {len(had)} frames")
            arrays[name], arrays[f"{name}_lengths"] = frames, lengths
        has = {name: np.asarray(arrays[f"{name}_lengths"]) > 0 for name in FROM_VIDEO}
        has["text"] = np.array([bool((text or "").strip()) for text in texts])
        used = self.serving.config.get("modalities", MODALITIES)
        usable = np.zeros(len(clips), dtype=bool)
        for name in set(present) & set(used):
            usable |= has[name]
        nothing = "no modality is left; expected one at least"
        found: list[Prediction | ClipError] = [
            ClipError("; ".join([*said, nothing])) for said in notes
        ]
        places = np.flatnonzero(usable)
        if len(places):
            some = {name: values[places] for name, values in arrays.items()}
            scored = self.predict_features(some, present=present)
            for place, one in zip(places, scored, strict=True):
                found[place] = replace(one, warnings=(*notes[place], *one.warnings))
        return found

    @torch.inference_mode()
    def predict_features(
        self, features: Mapping[str, Any], *, present: Iterable[str] = MODALITIES
    ) -> list[Prediction]:
        """Score N clips.

        Args:
            features: as in a feature file: ``text_bert`` (N, 3, L) or ``raw_text`` (N strings),
                ``audio`` (N, T_a, D_a) and ``vision`` (N, T_v, D_v), ``audio_lengths`` and
                ``vision_lengths`` (N,): all frames by default; 0 marks a missing modality.
                A modality that is not named is missing.
            present: the modalities to use.

        Returns:
            One a clip, in order.

        Raises:
            UserError: a wrong width or shape, or a clip with nothing to score.
        """
        with self._tokenising:
            clips = clips_of(features, self.serving)
        chosen = list(present)
        kept = torch.tensor([m in chosen for m in MODALITIES])
        has = self.model.presence(clips.text, clips.audio_lengths, clips.vision_lengths)
        here = has & kept  # (N, 3)
        if not here.any(dim=1).all():
            place = int((~here.any(dim=1)).nonzero()[0])
            raise UserError(f"clip {place}: no modality is left; expected one at least")
        # Batched as the run batched its own predictions: in bf16 padding shows in the digits.
        made: dict[str, Tensor] = {}
        whole = predict(
            self.model, clips, self.runtime, batch_size=self.batch_size, present=kept, features=made
        )
        scores = torch.cat([whole[None], self._without_one(made, here)])  # (4, N)
        if not torch.isfinite(scores).all():
            raise UserError("a score that is not finite; expected other weights: train again")
        texts = features.get("raw_text")
        return [
            self._prediction(
                scores[:, place], here[place], None if texts is None else str(texts[place])
            )
            for place in range(len(clips))
        ]

    def _without_one(self, made: Mapping[str, Tensor], here: Tensor) -> Tensor:
        """Scores (3, N) without text, audio and vision, from encodings that are there already."""
        device = self.runtime.device
        text, audio, vision = (made[f"Feature_{name[0]}"].to(device) for name in MODALITIES)
        encodings = Encodings(text, audio, vision, here.to(device))
        without = ~torch.eye(len(MODALITIES), dtype=torch.bool)[:, None]  # (3, 1, 3)
        return self.model.predict(self.model.fuse(encodings, without))[..., 0].float().cpu()

    def _prediction(self, scores: Tensor, here: Tensor, text: str | None) -> Prediction:
        """scores (4,): with all, and without text, audio, vision; here (3,): what was there."""
        whole, *less = scores.tolist()
        without = {
            f"without_{name}": less[place] if here[place] and int(here.sum()) > 1 else None
            for place, name in enumerate(MODALITIES)
        }
        warnings = [
            f"{name} is missing" for place, name in enumerate(MODALITIES) if not here[place]
        ]
        if text and self._count_tokens(text) > self.serving.tokens:
            warnings.append(f"text: cut after {self.serving.tokens} tokens")
        masks = (self.serving.config.get(name) for name in ("weight_masked", "mask_rate"))
        partial = int(here.sum()) > 1 or not bool(here[self.model.used.cpu()].all())
        if partial and not any(masks):
            warnings.append(EXTRAPOLATION)
        return Prediction(
            whole, self.words.of(whole), **without, warnings=tuple(warnings),
            precision=self.runtime.precision,
        )  # fmt: skip

    def _count_tokens(self, text: str) -> int:
        with self._tokenising:
            return len(self.serving.tokenizer(text, truncation=False, padding=False)["input_ids"])

    def _save_pretrained(self, save_directory: Path) -> None:
        served = self.serving
        save_weights(save_directory / WEIGHTS, served.model.state_dict())
        served.tokenizer.save_pretrained(save_directory / ENCODER)
        served.model.text_encoder.transformer.config.save_pretrained(save_directory / ENCODER)
        content = {**served.content, "seed": served.seed, "precision": served.precision}
        (save_directory / SERVING).write_text(json.dumps(content), encoding="utf-8")
        (save_directory / "README.md").write_text(card(served), encoding="utf-8")

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        **options: Any,
    ) -> SupArcPredictor:
        folder = Path(model_id)
        if not folder.is_dir():
            folder = Path(
                snapshot_download(
                    model_id, revision=revision, cache_dir=cache_dir, token=token,
                    force_download=force_download, local_files_only=local_files_only,
                )
            )  # fmt: skip
        try:
            served = servable.load_saved(folder)
        except UserError as error:
            raise UserError(f"{model_id}: no saved SupArcPredictor ({error})") from None
        return cls(served, **options)


def _runtime(device: torch.device, asked: Precision | None, trained: Precision) -> Runtime:
    if asked is None:
        asked = "fp32" if trained == "fp16" and device.type == "cpu" else trained
    return Runtime.choose(device, asked)
