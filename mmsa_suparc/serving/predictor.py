"""A trained SupArc, asked: features or a video in, a score out, and what each modality did."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import ModelHubMixin, snapshot_download
from torch import Tensor

from mmsa_suparc.data.batches import Clips
from mmsa_suparc.data.text import tokenise
from mmsa_suparc.errors import UserError
from mmsa_suparc.model.suparc import Encodings
from mmsa_suparc.names import MODALITIES
from mmsa_suparc.runs import servable
from mmsa_suparc.runs.folder import ENCODER, SERVING, WEIGHTS
from mmsa_suparc.runs.trainer import config_of
from mmsa_suparc.toolkit.features import without_blank
from mmsa_suparc.training.checkpoint import save_weights
from mmsa_suparc.training.evaluation import predict
from mmsa_suparc.training.runtime import Precision, Runtime
from mmsa_suparc.videos.extraction import shaped
from mmsa_suparc.videos.fet import ClipFeatures, Extractor
from mmsa_suparc.videos.media import ClipError, Limits
from mmsa_suparc.videos.recipe import FROM_VIDEO, Recipe

#: Scores closer to the middle of the range than this share of its half are neutral.
NEUTRAL = 0.05
#: Said of every score without a modality by a model that has only learnt from complete clips.
EXTRAPOLATION = (
    "scores without a modality are extrapolations: trained with weight_masked=0 and mask_rate=0"
)


@dataclass(frozen=True)
class Prediction:
    """What SupArc says of a clip.

    Args:
        score: in the data set's range.
        label: ``negative``, ``neutral`` (within 5% of the half range of its middle) or
            ``positive``.
        without_text: the score with the text masked; None where the clip has no text, or
            nothing else.
        without_audio: likewise.
        without_vision: likewise.
        warnings: what was missing or cut, and whether the scores without a modality are guesses
            about something that the model was not trained on.
        precision: in which the text encoder computed: ``fp32``, ``bf16`` or ``fp16``.
    """

    score: float
    label: str
    without_text: float | None
    without_audio: float | None
    without_vision: float | None
    warnings: tuple[str, ...] = ()
    precision: str = "fp32"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "warnings": list(self.warnings)}


class SupArcPredictor(ModelHubMixin):
    """A SupArc of a run folder; several threads may ask it.

    ``SupArcPredictor.from_run("runs/mine").predict(video="clip.mp4", text="I like it")``.

    ``save_pretrained``, ``from_pretrained`` and ``push_to_hub`` are huggingface_hub's.

    Args:
        served: the model and what it wants to be given.
        fet_python: the Python of MMSA-FET's environment.
        limits: on what a video may cost.
        device: ``cpu``, ``cuda`` …
        precision: of the text encoder, as in a configuration; by default the one in which the
            run computed its own predictions (fp32 for fp16 on a CPU, which lacks it).
    """

    def __init__(
        self,
        served: servable.Serving,
        *,
        fet_python: str | None = None,
        limits: Limits | None = None,
        device: str = "cpu",
        precision: Precision | None = None,
    ) -> None:
        self.serving = served
        # What save_pretrained writes as config.json: nothing of this machine's folders.
        self._hub_mixin_config = {
            key: _public(value) if key == "pretrained" else value
            for key, value in served.config.items()
            if key != "featurePath"
        }
        self.runtime = _runtime(torch.device(device), precision, served.precision)
        self._tokenising = threading.Lock()  # a fast tokenizer keeps its settings in itself
        self.model = served.model.to(self.runtime.device)
        self.model.text_encoder.weights_change = False
        self._extractor: Extractor | None = None
        if served.recipe is not None:
            self._extractor = Extractor(served.recipe, python=fet_python, limits=limits)

    @classmethod
    def from_run(
        cls, path: str | Path, *, seed: int | None = None, **options: Any
    ) -> SupArcPredictor:
        """The model of a run folder.

        Args:
            path: the ``--run-dir`` of ``mmsa run``.
            seed: by default the one with the best validation MAE.
            options: ``fet_python``, ``limits``, ``device``, ``precision`` of the constructor.

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
        recipe = self.serving.recipe or Recipe()
        arrays: dict[str, Any] = {"raw_text": [text or ""]}
        warnings = list(clip.notes)
        for name in FROM_VIDEO:
            frames, lengths = shaped([clip], name, recipe, self.serving.normalise)
            if frames.shape[2] != self.serving.widths[name]:
                frames = np.zeros((1, 1, self.serving.widths[name]), dtype=np.float32)
            had = getattr(clip, name)
            if had is not None and not lengths[0]:
                warnings.append(f"{name} left out: no training clip had it")
            elif had is not None and len(had) > lengths[0]:
                warnings.append(f"{name}: cut after {lengths[0]} of {len(had)} frames")
            arrays[name], arrays[f"{name}_lengths"] = frames, lengths
        has = {"text": bool((text or "").strip()), "audio": int(arrays["audio_lengths"][0]) > 0,
               "vision": int(arrays["vision_lengths"][0]) > 0}  # fmt: skip
        present = tuple(present)
        used = self.serving.config.get("modalities", MODALITIES)
        if not any(has[name] for name in present if name in used):
            raise ClipError("; ".join([*warnings, "no modality is left; expected one at least"]))
        (prediction,) = self.predict_features(arrays, present=present)
        return Prediction(**{**asdict(prediction), "warnings": (*warnings, *prediction.warnings)})

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
        clips = self._clips(features)
        chosen = list(present)
        kept = torch.tensor([m in chosen for m in MODALITIES])
        has = self.model.presence(clips.text, clips.audio_lengths, clips.vision_lengths)
        here = has & kept  # (N, 3)
        if not here.any(dim=1).all():
            place = int((~here.any(dim=1)).nonzero()[0])
            raise UserError(f"clip {place}: no modality is left; expected one at least")
        # Batched as the run batched its own predictions: in bf16 padding shows in the digits.
        made: dict[str, Tensor] = {}
        size = config_of(self.serving.config).evaluation_batch_size
        whole = predict(
            self.model, clips, self.runtime, batch_size=size, present=kept, features=made
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

    def _clips(self, features: Mapping[str, Any]) -> Clips:
        """N clips as arrays; of their scores nothing is known."""
        sizes = {name: len(features[name]) for name in
                 ("raw_text", "text_bert", *FROM_VIDEO) if name in features}  # fmt: skip
        if not sizes or len(set(sizes.values())) != 1:
            raise UserError(f"features of {sizes or 'nothing'}; expected as many clips of each")
        count = next(iter(sizes.values()))
        served = self.serving
        if "text_bert" in features:
            tokens = np.asarray(features["text_bert"])
            tokens = without_blank(tokens, features.get("raw_text", ["some"] * count))
        else:
            texts = [str(text) for text in features.get("raw_text", [""] * count)]
            with self._tokenising:
                made = tokenise(served.tokenizer, texts, length=served.tokens)
            tokens = without_blank(made, texts)
        vocabulary = served.model.text_encoder.transformer.config.vocab_size
        if tokens.ndim != 3 or tokens.shape[1] != 3 or tokens[:, 0].max(initial=0) >= vocabulary:
            raise UserError(
                f"text_bert: shape {tokens.shape}, ids up to {int(tokens.max(initial=0))}; "
                f"expected (clips, 3, tokens) and ids below {vocabulary}"
            )
        inputs: dict[str, Any] = {}
        for name in FROM_VIDEO:
            width = served.widths[name]
            lacking = name not in features
            frames = np.zeros((count, 1, width)) if lacking else np.asarray(features[name])
            if frames.ndim != 3 or frames.shape[2] != width:
                raise UserError(
                    f"{name}: shape {frames.shape}; this model expects (clips, frames, {width}): "
                    "features of another recipe?"
                )
            if not np.isfinite(frames).all():
                raise UserError(f"{name}: numbers that are not finite")
            full = [0 if lacking else frames.shape[1]] * count
            lengths = np.asarray(features.get(f"{name}_lengths", full)).reshape(-1)
            inputs[name] = torch.as_tensor(frames.astype(np.float32))
            inputs[f"{name}_lengths"] = torch.as_tensor(lengths.astype(np.int64))
        return Clips(
            text=torch.as_tensor(np.array(tokens)).long(),
            **inputs,
            scores=torch.zeros(count),
            index=torch.arange(count),
        )

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
            whole, self.label(whole), **without, warnings=tuple(warnings),
            precision=self.runtime.precision,
        )  # fmt: skip

    def _count_tokens(self, text: str) -> int:
        with self._tokenising:
            return len(self.serving.tokenizer(text, truncation=False, padding=False)["input_ids"])

    def label(self, score: float) -> str:
        """The score in a word."""
        low, high = self.serving.score_range
        middle, half = (low + high) / 2, (high - low) / 2
        if abs(score - middle) <= NEUTRAL * half:
            return "neutral"
        return "positive" if score > middle else "negative"

    def _save_pretrained(self, save_directory: Path) -> None:
        served = self.serving
        save_weights(save_directory / WEIGHTS, served.model.state_dict())
        served.tokenizer.save_pretrained(save_directory / ENCODER)
        served.model.text_encoder.transformer.config.save_pretrained(save_directory / ENCODER)
        content = {**served.content, "seed": served.seed, "precision": served.precision}
        (save_directory / SERVING).write_text(json.dumps(content), encoding="utf-8")
        (save_directory / "README.md").write_text(self.card(), encoding="utf-8")

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

    def card(self) -> str:
        """A model card, filled from the run."""
        served = self.serving
        low, high = served.score_range
        name = served.config.get("data_name") or served.config.get("dataset_name")
        encoder = _public(str(served.config.get("pretrained")))
        made = "features of unknown making"
        if served.recipe is not None:
            made = "`mmsa extract` (recipe in serving.json)"
        return "\n".join(
            [
                "---", "library_name: mmsa-suparc", "tags: [multimodal-sentiment-analysis]", "---",
                "", "# SupArc", "",
                f"Scores from {low:g} to {high:g} for text, audio and vision of a clip.", "",
                f"- Trained on: {name}, seed {served.seed}, by mmsa-suparc",
                f"- Text encoder: {encoder}",
                f"- Audio and vision: {made}; values a frame: {served.widths}",
                f"- Losses: MAE + {served.config.get('weight_suparc')} × SupArc + "
                f"{served.config.get('weight_triplet')} × modality triplet + "
                f"{served.config.get('weight_masked', 0)} × MAE with modalities masked",
                "", "```python", "from mmsa_suparc import SupArcPredictor",
                'SupArcPredictor.from_pretrained("THIS").predict(video="clip.mp4", text="…")',
                "```", "",
                "A score of a clip is a guess of a statistical model; it judges no person.", "",
            ]
        )  # fmt: skip


def _runtime(device: torch.device, asked: Precision | None, trained: Precision) -> Runtime:
    if asked is None:
        asked = "fp32" if trained == "fp16" and device.type == "cpu" else trained
    return Runtime.choose(device, asked)


def _public(encoder: str) -> str:
    """An encoder's name on the hub, or that of its folder."""
    return Path(encoder).name if Path(encoder).is_absolute() else encoder


def scores_table(names: Sequence[str], predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """Rows for a table or a CSV: a clip, its score and label, and the three left-out scores."""
    return [
        {"clip": name, **prediction.as_dict(), "warnings": "; ".join(prediction.warnings)}
        for name, prediction in zip(names, predictions, strict=True)
    ]
