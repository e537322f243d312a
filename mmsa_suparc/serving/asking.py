"""What every predictor of clips does, whichever model it asks."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from mmsa_suparc.data import feature_cache, reader, schema
from mmsa_suparc.data.text import with_tokens
from mmsa_suparc.errors import UserError
from mmsa_suparc.names import MODALITIES
from mmsa_suparc.runs.known import Known
from mmsa_suparc.runs.records import NOT_OF_VIDEOS
from mmsa_suparc.serving import many, timeline
from mmsa_suparc.serving.prediction import Prediction, Words
from mmsa_suparc.toolkit.features import aligned_lengths
from mmsa_suparc.videos.extraction import shaped
from mmsa_suparc.videos.fet import ClipFeatures, Extractor
from mmsa_suparc.videos.media import ClipError, Limits
from mmsa_suparc.videos.recipe import FROM_VIDEO, Recipe

#: What :meth:`ClipPredictor.predict_file` takes of a feature file's split.
FIELDS = ("text", "text_bert", "raw_text", "audio", "vision", "audio_lengths", "vision_lengths")
#: Said of a clip with nothing to score.
NOTHING = "no modality is left; expected one at least"


class ClipPredictor(ABC):
    """A trained model that is asked about clips; several threads may ask it.

    A model brings :meth:`predict_features` and says what it is with the attributes below; all else
    is the same for every model.
    """

    #: What the model wants to be given.
    serving: Known
    #: Puts its scores into words.
    words: Words
    #: Of its text encoder; None where it reads no words.
    tokenizer: Any
    #: In which its text encoder computes.
    precision: str
    #: Said of scores without a modality, where the model has not learnt to do without; else empty.
    caution: str
    #: Why it cannot score a clip by itself; empty where it can.
    why_no_clips: str = ""

    @property
    @abstractmethod
    def encoder(self) -> str | None:
        """The folder or name of the text encoder that makes its tokens; None of none."""

    @abstractmethod
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

    @property
    def used(self) -> tuple[str, ...]:
        """The modalities that the model looks at."""
        return tuple(self.serving.config.get("modalities", MODALITIES))

    def begin(self, fet_python: str | None, limits: Limits | None) -> None:
        """What belongs to this process.

        Args:
            fet_python: the Python of MMSA-FET's environment.
            limits: on what a video may cost.
        """
        self._fet_python, self._limits = fet_python, limits
        self._tokenising = threading.Lock()  # a fast tokenizer keeps its settings in itself
        self._extractor: Extractor | None = None
        if self.serving.recipe is not None:
            self._extractor = Extractor(self.serving.recipe, python=fet_python, limits=limits)

    def __getstate__(self) -> dict[str, Any]:
        mine = ("_tokenising", "_extractor")
        return {name: value for name, value in self.__dict__.items() if name not in mine}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.begin(self._fet_python, self._limits)

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
            raise UserError(f"{NOT_OF_VIDEOS}. Use --features")
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
        if self.why_no_clips:
            raise UserError(self.why_no_clips)
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
        usable = np.zeros(len(clips), dtype=bool)
        for name in set(present) & set(self.used):
            usable |= has[name]
        found: list[Prediction | ClipError] = [
            ClipError("; ".join([*said, NOTHING])) for said in notes
        ]
        places = np.flatnonzero(usable)
        if len(places):
            some = {name: values[places] for name, values in arrays.items()}
            scored = self.predict_features(some, present=present)
            for place, one in zip(places, scored, strict=True):
                found[place] = replace(one, warnings=(*notes[place], *one.warnings))
        return found

    def predict_file(self, features: str | Path) -> tuple[list[str], list[Prediction]]:
        """Score all clips of a feature file of the form that the run was trained on.

        Returns:
            The clips' names, ``SPLIT/ID``, and a prediction each.

        Raises:
            UserError: a file that does not fit the model.
        """
        path = Path(features).expanduser()
        content = schema.normalised(reader.read(path))
        aligned = bool(self.serving.config.get("need_data_aligned"))
        faults = schema.check(content, schema.Rules(lengths=not aligned, allow_leak=True))
        if faults:
            raise schema.FaultsError(path, faults)
        content = feature_cache.in_memory(content)  # as in training: silence, and own tokens
        if self.encoder is not None:
            content = with_tokens(content, self.encoder, path)
        names: list[str] = []
        found: list[Prediction] = []
        for split, fields in content.items():
            wanted = {key: fields[key] for key in FIELDS if key in fields}
            if aligned and "text_bert" in wanted:
                wanted |= {
                    f"{name}_lengths": aligned_lengths(
                        wanted["text_bert"], wanted["raw_text"], wanted[name]
                    )
                    for name in FROM_VIDEO
                }
            found += self.predict_features(wanted)
            names += [f"{split}/{clip}" for clip in fields["id"]]
        return names, found

    @staticmethod
    def require_one(here: Tensor) -> None:
        """Refuse clips (N, 3) of which one has nothing to score."""
        lacking = (~here.any(dim=1)).nonzero()
        if len(lacking):
            raise UserError(f"clip {int(lacking[0])}: {NOTHING}")

    def prediction(self, scores: Tensor, here: Tensor, text: str | None) -> Prediction:
        """scores (4,): with all, and without text, audio, vision; here (3,): what was there."""
        whole, *less = scores.tolist()
        without = {
            f"without_{name}": less[place] if here[place] and int(here.sum()) > 1 else None
            for place, name in enumerate(MODALITIES)
        }
        warnings = [
            f"{name} is missing" for place, name in enumerate(MODALITIES) if not here[place]
        ]
        if text and self.tokenizer and self._count_tokens(text) > self.serving.tokens:
            warnings.append(f"text: cut after {self.serving.tokens} tokens")
        used = [name in self.used for name in MODALITIES]
        if self.caution and (int(here.sum()) > 1 or not bool(here[used].all())):
            warnings.append(self.caution)
        return Prediction(
            whole, self.words.of(whole), **without, warnings=tuple(warnings),
            precision=self.precision,
        )  # fmt: skip

    def _count_tokens(self, text: str) -> int:
        with self._tokenising:
            return len(self.tokenizer(text, truncation=False, padding=False)["input_ids"])
