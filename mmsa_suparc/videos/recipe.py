"""How features are made of a clip, and how they are brought to the shape that a model takes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mmsa_suparc.config import find_shipped, first_of, read_file
from mmsa_suparc.errors import ConfigError, UserError, shown

Count = Annotated[int, Field(ge=1, le=100_000)]
#: The modalities that come from a video; text comes from the user.
FROM_VIDEO = ("audio", "vision")


class PerModality(BaseModel):
    """A number of frames for each modality."""

    model_config = ConfigDict(extra="forbid")

    audio: Count = 1
    vision: Count = 1


#: Tools of MMSA-FET that a recipe may name.
TOOLS = {"audio": ("opensmile", "librosa"), "video": ("mediapipe", "openface")}


class Recipe(BaseModel):
    """A file of ``plugin_configs/fet/``.

    It may come from a stranger, in a feature file or with a model, and MMSA-FET evaluates some of
    its words as Python, starts programs by others and writes where they say: words are single
    names, and the parts that write or start something stay off.
    """

    model_config = ConfigDict(extra="forbid")

    audio: dict[str, Any] | None = Field(
        default=None, description="MMSA-FET's section of that name"
    )
    video: dict[str, Any] | None = Field(
        default=None, description="MMSA-FET's section of that name"
    )
    average: PerModality = Field(default_factory=PerModality, description="frames made one")
    frames: PerModality = Field(
        default_factory=lambda: PerModality(audio=300, vision=150), description="kept of a clip"
    )
    silence: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        default=1e-4, description="root mean square"
    )

    @model_validator(mode="after")
    def _harmless(self) -> Recipe:
        for name, section in (("audio", self.audio), ("video", self.video)):
            if section is None:
                continue
            if section.get("tool") not in TOOLS[name]:
                raise ValueError(
                    f"{name}.tool: {shown(section.get('tool'))}; expected {TOOLS[name]}"
                )
            _check_words(section, name)
            for key in ("fps", "sample_rate"):
                number = section.get(key, 1)
                if type(number) not in (int, float) or not 0 < number <= 1e6:
                    raise ValueError(f"{name}.{key}: {shown(number)}; expected a number > 0")
        for key, switch in (("args", "visualize"), ("multiFace", "enable")):
            inner = (self.video or {}).get(key) or {}
            if not isinstance(inner, dict):
                raise ValueError(f"video.{key}: {shown(inner)}; expected 'key: value' lines")
            if inner.get(switch):
                raise ValueError(f"video.{key}: {switch} is off here; expected false")
        return self

    @property
    def fps(self) -> float:
        """Pictures a second."""
        return float((self.video or {}).get("fps", 5))

    @property
    def sample_rate(self) -> int:
        """Hz of the sound."""
        return int((self.audio or {}).get("sample_rate", 16_000))


def _check_words(value: Any, where: str) -> None:
    """Every word in it is a single name."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_words(key, where)
            _check_words(inner, f"{where}.{key}")
    elif isinstance(value, list):
        for inner in value:
            _check_words(inner, where)
    elif isinstance(value, str) and not re.fullmatch(r"\w*", value, flags=re.ASCII):
        raise ValueError(f"{where}: {value!r}; expected a name of letters, digits and _")


def of_json(content: dict[str, Any]) -> Recipe:
    """A recipe that came with a model or a feature file.

    Raises:
        UserError: it is none, or asks for what a recipe may not.
    """
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise UserError(f"recipe of the features: {first_of(error)}") from None


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation (D,) of each value over the frames of the training clips."""

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, clips: list[np.ndarray]) -> Normalisation:
        """From the frames (T, D) of clips; a value that never varies is left as it is."""
        frames = np.concatenate(clips).astype(np.float64)
        deviation = frames.std(axis=0)
        return cls(frames.mean(axis=0), np.where(deviation < 1e-6, 1.0, deviation))

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        return ((frames - self.mean) / self.deviation).astype(np.float32)

    def as_json(self) -> dict[str, list[float]]:
        return {"mean": self.mean.tolist(), "deviation": self.deviation.tolist()}

    @classmethod
    def from_json(cls, content: Any, width: int) -> Normalisation:
        """What came with a model or a feature file, of frames with so many values.

        Raises:
            UserError: something else came.
        """
        try:
            mean, deviation = (np.asarray(content[k], np.float64) for k in ("mean", "deviation"))
        except (TypeError, KeyError, ValueError):
            mean = deviation = np.empty(0)
        if not (
            mean.shape == deviation.shape == (width,)
            and np.isfinite(mean).all()
            and np.isfinite(deviation).all()
            and (deviation > 0).all()
        ):
            raise UserError(
                f"normalisation of the features: expected {width} means and as many deviations > 0"
            )
        return cls(mean, deviation)


def load(name: str) -> Recipe:
    """A recipe by path, or one that comes with the package by name.

    Raises:
        UserError: neither.
        ConfigError: an unknown key or a wrong type.
    """
    path = find_shipped("recipe", "fet", name)
    content = read_file(path)
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{path}: {first_of(error)}") from None


def averaged(frames: np.ndarray, count: int) -> np.ndarray:
    """(T, D) -> (⌈T / count⌉, D): means of neighbouring frames, fewer in the last one."""
    starts = np.arange(0, len(frames), count)
    sums = np.add.reduceat(frames.astype(np.float64), starts, axis=0)
    sizes = np.diff([*starts, len(frames)])
    return (sums / sizes[:, None]).astype(np.float32)


def padded(clips: list[np.ndarray | None], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Sequences (T, D) as one array: cut at ``length``, zeros behind shorter ones.

    Returns:
        (N, length, D) float32, and lengths (N,): 0 for a clip that lacks the modality.
    """
    width = next((clip.shape[1] for clip in clips if clip is not None), 1)
    whole = np.zeros((len(clips), length, width), dtype=np.float32)
    lengths = np.zeros(len(clips), dtype=np.int64)
    for place, clip in enumerate(clips):
        if clip is not None:
            lengths[place] = min(len(clip), length)
            whole[place, : lengths[place]] = clip[:length]
    return whole, lengths
