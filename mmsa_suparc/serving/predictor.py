"""A trained SupArc, asked: features or a video in, a score out, and what each modality did."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelHubMixin, snapshot_download
from torch import Tensor

from mmsa_suparc.errors import UserError
from mmsa_suparc.model.suparc import Encodings
from mmsa_suparc.names import MODALITIES
from mmsa_suparc.runs import servable
from mmsa_suparc.runs.folder import ENCODER, SERVING
from mmsa_suparc.runs.records import WEIGHTS
from mmsa_suparc.runs.trainer import config_of
from mmsa_suparc.serving.asking import ClipPredictor
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
from mmsa_suparc.videos.media import Limits


class SupArcPredictor(ClipPredictor, ModelHubMixin):
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

    serving: servable.Serving

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
        self.tokenizer, self.precision = served.tokenizer, self.runtime.precision
        masks = (served.config.get(name) for name in ("weight_masked", "mask_rate"))
        self.caution = "" if any(masks) else EXTRAPOLATION
        self.begin(fet_python, limits)

    @property
    def encoder(self) -> str:
        return str(self.serving.encoder)

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

    @torch.inference_mode()
    def predict_features(
        self, features: Mapping[str, Any], *, present: Iterable[str] = MODALITIES
    ) -> list[Prediction]:
        with self._tokenising:
            clips = clips_of(features, self.serving)
        chosen = list(present)
        kept = torch.tensor([m in chosen for m in MODALITIES])
        has = self.model.presence(clips.text, clips.audio_lengths, clips.vision_lengths)
        here = has & kept  # (N, 3)
        self.require_one(here)
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
            self.prediction(
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
