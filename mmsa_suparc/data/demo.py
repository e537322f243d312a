"""Embedded data sets: short reviews with tone of voice and face, made from a seed.

Each clip has a latent sentiment y in [-3, 3]. Its words, its audio and its vision each express
y plus noise of their own, and in a share of the clips one of the three says the opposite: a
model has to weigh all three. Nothing is downloaded; the text encoder is a tiny BERT with a
vocabulary of its own and random weights, saved as an ordinary ``from_pretrained`` folder.

The Chinese one has CH-SIMS's format: scores in [-1, 1], and a label for each modality, which is
what that modality says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmsa_suparc.data import pickle_stream, tiny_bert
from mmsa_suparc.data.cache import cache_folder
from mmsa_suparc.data.demo_words import CHINESE, ENGLISH, Words
from mmsa_suparc.data.files import write_atomically
from mmsa_suparc.data.pickle_stream import Blocks

VERSION = "2"  # of the recipe below: another recipe gets another cache folder

TOKENS, AUDIO_FRAMES, VISION_FRAMES = 25, 50, 50
AUDIO_WIDTH, VISION_WIDTH, TEXT_WIDTH = 12, 16, 64
SPLIT_SIZES = {"train": 800, "valid": 200, "test": 300}

DRAWN_AT_ONCE = 1_000  # clips whose frames are drawn together
WRITTEN_AT_ONCE = 50  # clips

TEXT_NOISE, AUDIO_NOISE, VISION_NOISE = 0.7, 0.9, 0.9  # score units
CONTRADICTION = {"text": 0.06, "audio": 0.10, "vision": 0.10}  # share of the clips


@dataclass(frozen=True)
class Demo:
    """Where the embedded data set lies."""

    features: Path
    encoder: Path


def vocabulary(words: Words = ENGLISH) -> list[str]:
    """Every token of a language, special ones first; the place in the list is the token id."""
    return words.vocabulary()


@dataclass(frozen=True)
class Shape:
    """What a made feature file looks like: clips a split, places and values a frame.

    Args:
        highest: score; the lowest is its opposite.
        unimodal: whether there is a label for each modality too.
        name: of the file, below the folder that it is made in.
    """

    clips: dict[str, int]
    tokens: int = TOKENS
    audio_frames: int = AUDIO_FRAMES
    vision_frames: int = VISION_FRAMES
    text_width: int = TEXT_WIDTH
    audio_width: int = AUDIO_WIDTH
    vision_width: int = VISION_WIDTH
    words: Words = ENGLISH
    highest: float = 3.0
    unimodal: bool = False
    name: str = "Processed/unaligned_50.pkl"


SHAPES = {
    "demo": Shape(SPLIT_SIZES),
    # The toolkit's unaligned CMU-MOSEI features.
    "mosei": Shape(
        {"train": 16_326, "valid": 1_871, "test": 4_659},
        tokens=50, audio_frames=500, vision_frames=500,
        text_width=768, audio_width=74, vision_width=35,
    ),
    "sims": Shape(
        SPLIT_SIZES, tokens=39, words=CHINESE, highest=1.0, unimodal=True,
        name="SIMS/Processed/unaligned_39.pkl",
    ),
}  # fmt: skip


def make_demo(folder: Path | None = None, shape: Shape = SHAPES["demo"]) -> Demo:
    """Write the feature file and the encoder, if they are not there yet.

    The file is drawn while it is written, some clips at a time: however large, it needs little
    memory.

    Args:
        folder: where to; by default the cache folder, keyed by the recipe's version.
        shape: of the feature file.

    Raises:
        DiskError: the folder cannot be written; nothing half-written is left.
    """
    if folder is None:
        folder = cache_folder("demo", VERSION)
    demo = Demo(folder / shape.name, folder / "encoder")
    if not demo.encoder.is_dir():
        tiny_bert.write(demo.encoder, vocabulary(shape.words), width=TEXT_WIDTH)
    if not demo.features.is_file():
        write_atomically(demo.features, lambda file: pickle_stream.dump(_drawn(shape), file))
    return demo


def feature_file(
    shape: Shape | dict[str, int] = SHAPES["demo"], seed: int = 2026
) -> dict[str, Any]:
    """The splits, in the toolkit's format; the same for the same shape and seed.

    Args:
        shape: or only the number of clips by split.
    """
    if isinstance(shape, dict):
        shape = Shape(shape)
    return {
        split: {name: v.whole() if isinstance(v, Blocks) else v for name, v in fields}
        for split, fields in _drawn(shape, seed)
    }


def text_features(text_bert: np.ndarray, seed: int = 2026) -> np.ndarray:
    """``text`` (N, L, W) of tokens (N, 3, L), as the embedded data set has it: a vector a token."""
    recipe = _Recipe.draw(np.random.default_rng(seed), SHAPES["demo"])
    return recipe.vectors(text_bert).whole()


Fields = Iterator[tuple[str, "np.ndarray | Blocks"]]


def _drawn(shape: Shape, seed: int = 2026) -> Iterator[tuple[str, Fields]]:
    """The splits, drawn in the order in which one goes through them and their fields."""
    rng = np.random.default_rng(seed)
    recipe = _Recipe.draw(rng, shape)
    for split, count in shape.clips.items():
        yield split, recipe.clips(rng, split, count)


@dataclass(frozen=True)
class _Recipe:
    """What all clips share: how sentiment looks in a frame, and a vector a word."""

    shape: Shape
    audio_direction: np.ndarray  # (audio width,)
    vision_direction: np.ndarray  # (vision width,)
    word_vectors: np.ndarray  # (vocabulary, text width)

    @classmethod
    def draw(cls, rng: np.random.Generator, shape: Shape) -> _Recipe:
        def direction(width: int) -> np.ndarray:
            vector = rng.normal(size=width)
            return vector / np.linalg.norm(vector)

        return cls(
            shape=shape,
            audio_direction=direction(shape.audio_width),
            vision_direction=direction(shape.vision_width),
            word_vectors=rng.normal(size=(len(vocabulary(shape.words)), shape.text_width)).astype(
                np.float32
            ),
        )

    def clips(self, rng: np.random.Generator, split: str, count: int) -> Fields:
        """The arrays of one split; each is to be gone through before the next is asked for."""
        shape = self.shape
        ids = {word: place for place, word in enumerate(vocabulary(shape.words))}
        sentiment = rng.uniform(-3.0, 3.0, size=count)
        expressed = _expressed(rng, sentiment)
        texts = [shape.words.review(rng, value) for value in expressed["text"]]
        text_bert = np.zeros((count, 3, shape.tokens), dtype=np.int32)
        for row, text in enumerate(texts):
            tokens = ["[CLS]", *shape.words.tokens(text), "[SEP]"]
            text_bert[row, 0, : len(tokens)] = [ids[token] for token in tokens]
            text_bert[row, 1, : len(tokens)] = 1
        yield "raw_text", np.array(texts)
        yield "text", self.vectors(text_bert)
        yield "text_bert", text_bert
        lengths = {}
        for name, direction, longest in (
            ("audio", self.audio_direction, shape.audio_frames),
            ("vision", self.vision_direction, shape.vision_frames),
        ):
            lengths[name] = rng.integers(max(1, longest // 4), longest + 1, size=count)
            yield name, _frames(rng, expressed[name], direction, longest, lengths[name])
        scores = _labels(sentiment, shape.highest)
        yield "audio_lengths", lengths["audio"].astype(np.int64)
        yield "vision_lengths", lengths["vision"].astype(np.int64)
        yield "id", np.array([f"{split}{row // 10:03d}$_${row % 10}" for row in range(count)])
        words = ("Negative", "Neutral", "Positive")
        yield "annotations", np.array([words[int(np.sign(score)) + 1] for score in scores])
        yield "classification_labels", (np.sign(scores) + 1).astype(np.float32)
        yield "regression_labels", scores.astype(np.float32)
        if shape.unimodal:
            for name, values in expressed.items():
                label = _labels(values, shape.highest).astype(np.float32)
                yield f"regression_labels_{name[0].upper()}", label

    def vectors(self, text_bert: np.ndarray) -> Blocks:
        """A vector a token, zeros behind each text's end."""
        count, _, tokens = text_bert.shape
        blocks = (
            self.word_vectors[some[:, 0]] * some[:, 1, :, None]
            for some in _some(text_bert, WRITTEN_AT_ONCE)
        )
        return Blocks((count, tokens, self.shape.text_width), np.dtype(np.float64), blocks)


def _some(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """So many of the rows at a time."""
    return (rows[start : start + size] for start in range(0, len(rows), size))


def _labels(values: np.ndarray, highest: float) -> np.ndarray:
    """Values of [-3, 3] as scores up to the highest one, in steps of 0.2."""
    return np.round(np.clip(values, -3.0, 3.0) * (highest / 3.0) * 5) / 5


def _expressed(rng: np.random.Generator, sentiment: np.ndarray) -> dict[str, np.ndarray]:
    """What each modality says: the sentiment with noise, or its opposite."""
    noise = {"text": TEXT_NOISE, "audio": AUDIO_NOISE, "vision": VISION_NOISE}
    values = {
        modality: sentiment + rng.normal(scale=scale, size=len(sentiment))
        for modality, scale in noise.items()
    }
    chance = rng.uniform(size=len(sentiment))
    low = 0.0
    for modality, share in CONTRADICTION.items():  # at most one modality a clip
        opposite = (chance >= low) & (chance < low + share)
        values[modality] = np.where(opposite, -values[modality], values[modality])
        low += share
    return values


def _frames(
    rng: np.random.Generator,
    values: np.ndarray,
    direction: np.ndarray,
    longest: int,
    lengths: np.ndarray,
) -> Blocks:
    """Noisy frames that carry a value along a direction, zeros behind each clip's length."""

    def drawn() -> Iterator[np.ndarray]:
        for start in range(0, len(values), DRAWN_AT_ONCE):
            count = min(DRAWN_AT_ONCE, len(values) - start)
            noise = rng.normal(scale=0.7, size=(count, longest, len(direction)))
            swing = 1.0 + 0.5 * rng.normal(size=(count, longest, 1))  # strong and weak moments
            for first in range(0, count, WRITTEN_AT_ONCE):
                here = slice(first, first + WRITTEN_AT_ONCE)
                there = slice(start + first, min(start + first + WRITTEN_AT_ONCE, start + count))
                part = noise[here] + values[there, None, None] * swing[here] * direction
                part *= (np.arange(longest) < lengths[there, None])[:, :, None]
                yield part.astype(np.float32)
            del noise, swing  # before the next ones are drawn

    return Blocks((len(values), longest, len(direction)), np.dtype(np.float32), drawn())
