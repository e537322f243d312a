"""How features are made of a clip, and how they are brought to the shape that a model takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mmsa_suparc.config import plugin_configs, read_file
from mmsa_suparc.errors import ConfigError, UserError, nearest

Count = Annotated[int, Field(ge=1)]
#: The modalities that come from a video; text comes from the user.
FROM_VIDEO = ("audio", "vision")


class PerModality(BaseModel):
    """A number of frames for each modality."""

    model_config = ConfigDict(extra="forbid")

    audio: Count = 1
    vision: Count = 1


class Recipe(BaseModel):
    """A file of ``plugin_configs/fet/``."""

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
    silence: Annotated[float, Field(ge=0)] = Field(default=1e-4, description="root mean square")

    @property
    def fps(self) -> float:
        """Pictures a second."""
        return float((self.video or {}).get("fps", 5))

    @property
    def sample_rate(self) -> int:
        """Hz of the sound."""
        return int((self.audio or {}).get("sample_rate", 16_000))


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
    def from_json(cls, content: dict[str, list[float]]) -> Normalisation:
        return cls(np.asarray(content["mean"]), np.asarray(content["deviation"]))


def load(name: str) -> Recipe:
    """A recipe by path, or one that comes with the package by name.

    Raises:
        UserError: neither.
        ConfigError: an unknown key or a wrong type.
    """
    path = Path(name).expanduser()
    if not path.is_file():
        shipped = {file.stem: file for file in sorted((plugin_configs() / "fet").glob("*.yaml"))}
        if name not in shipped:
            raise UserError(
                f"recipe {name}: no such file, and none of that name comes with the package"
                f"{nearest(name, shipped)}; it has {', '.join(shipped)}"
            )
        path = shipped[name]
    content = read_file(path)
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{path}: {where}: {first['msg']}") from None


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
