"""The embedded data set: short English reviews with tone of voice and face, made from a seed.

Each clip has a latent sentiment y in [-3, 3]. Its words, its audio and its vision each express
y plus noise of their own, and in a share of the clips one of the three says the opposite: a
model has to weigh all three. Nothing is downloaded; the text encoder is a tiny BERT with a
vocabulary of its own and random weights, saved as an ordinary ``from_pretrained`` folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from mmsa_suparc.data import safe_pickle, tiny_bert
from mmsa_suparc.data.cache import cache_folder
from mmsa_suparc.data.files import write_atomically

VERSION = "2"  # of the recipe below: another recipe gets another cache folder

TOKENS, AUDIO_FRAMES, VISION_FRAMES = 25, 50, 50
AUDIO_WIDTH, VISION_WIDTH, TEXT_WIDTH = 12, 16, 64
SPLIT_SIZES = {"train": 800, "valid": 200, "test": 300}

AT_ONCE = 1_000  # clips whose frames are drawn together

TEXT_NOISE, AUDIO_NOISE, VISION_NOISE = 0.7, 0.9, 0.9  # score units
CONTRADICTION = {"text": 0.06, "audio": 0.10, "vision": 0.10}  # share of the clips

VALENCE = {
    "superb": 2.1, "brilliant": 2.0, "wonderful": 2.0, "excellent": 1.8, "great": 1.6,
    "lovely": 1.4, "good": 1.1, "nice": 0.9, "pleasant": 0.8, "decent": 0.5, "fine": 0.3,
    "ordinary": 0.0, "average": 0.0, "plain": -0.3, "flat": -0.6, "dull": -0.9, "weak": -1.0,
    "bad": -1.3, "boring": -1.4, "poor": -1.5, "awful": -1.9, "terrible": -2.0,
    "horrible": -2.1,
}  # fmt: skip
STRENGTH = {"": 1.0, "really": 1.3, "very": 1.4, "quite": 0.8, "somewhat": 0.5, "not": -0.7}
PHRASES = list(product(STRENGTH, VALENCE))
PHRASE_VALENCE = np.array([STRENGTH[strength] * VALENCE[word] for strength, word in PHRASES])
ASPECTS = (
    "plot", "acting", "music", "ending", "script", "camera", "dialogue", "story", "cast",
    "pacing", "humor", "film", "scene", "hero", "villain",
)  # fmt: skip
OPENERS = ("", "", "well ,", "honestly ,", "i think", "you know ,", "for me")
JOINS = ("and", "but", ",")
#: At the places that they have in BERT's vocabularies: TFR_NET writes 100 for [UNK].
SPECIAL = (
    "[PAD]",
    *(f"[unused{place}]" for place in range(1, 100)),
    *("[UNK]", "[CLS]", "[SEP]", "[MASK]"),
)


@dataclass(frozen=True)
class Demo:
    """Where the embedded data set lies."""

    features: Path
    encoder: Path


def vocabulary() -> list[str]:
    """Every token, special ones first; the place in the list is the token id."""
    words = {w for phrase in (*OPENERS, *JOINS) for w in phrase.split()}
    words |= {"the", "was", "."} | set(VALENCE) | set(ASPECTS) | (set(STRENGTH) - {""})
    return [*SPECIAL, *sorted(words)]


@dataclass(frozen=True)
class Shape:
    """How large a made feature file is: clips a split, places and values a frame."""

    clips: dict[str, int]
    tokens: int = TOKENS
    audio_frames: int = AUDIO_FRAMES
    vision_frames: int = VISION_FRAMES
    text_width: int = TEXT_WIDTH
    audio_width: int = AUDIO_WIDTH
    vision_width: int = VISION_WIDTH


SHAPES = {
    "demo": Shape(SPLIT_SIZES),
    # The toolkit's unaligned CMU-MOSEI features.
    "mosei": Shape(
        {"train": 16_326, "valid": 1_871, "test": 4_659},
        tokens=50, audio_frames=500, vision_frames=500,
        text_width=768, audio_width=74, vision_width=35,
    ),
}  # fmt: skip


def make_demo(folder: Path | None = None, shape: Shape = SHAPES["demo"]) -> Demo:
    """Write the feature file and the encoder, if they are not there yet.

    Args:
        folder: where to; by default the cache folder, keyed by the recipe's version.
        shape: of the feature file.

    Raises:
        DiskError: the folder cannot be written; nothing half-written is left.
    """
    if folder is None:
        folder = cache_folder("demo", VERSION)
    demo = Demo(folder / "Processed" / "unaligned_50.pkl", folder / "encoder")
    if not demo.encoder.is_dir():
        tiny_bert.write(demo.encoder, vocabulary(), width=TEXT_WIDTH)
    if not demo.features.is_file():
        content = feature_file(shape)
        write_atomically(demo.features, lambda file: safe_pickle.dump(content, file))
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
    rng = np.random.default_rng(seed)
    recipe = _Recipe.draw(rng, shape)
    return {split: recipe.clips(rng, split, count) for split, count in shape.clips.items()}


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
            word_vectors=rng.normal(size=(len(vocabulary()), shape.text_width)).astype(np.float32),
        )

    def clips(self, rng: np.random.Generator, split: str, count: int) -> dict[str, Any]:
        """One split as a dictionary of arrays."""
        ids = {word: place for place, word in enumerate(vocabulary())}
        sentiment = rng.uniform(-3.0, 3.0, size=count)
        expressed = _expressed(rng, sentiment)
        texts = [_review(rng, value) for value in expressed["text"]]
        text_bert = np.zeros((count, 3, self.shape.tokens), dtype=np.int32)
        for row, text in enumerate(texts):
            tokens = ["[CLS]", *text.split(), "[SEP]"]
            text_bert[row, 0, : len(tokens)] = [ids[token] for token in tokens]
            text_bert[row, 1, : len(tokens)] = 1
        audio, audio_lengths = _frames(
            rng, expressed["audio"], self.audio_direction, self.shape.audio_frames
        )
        vision, vision_lengths = _frames(
            rng, expressed["vision"], self.vision_direction, self.shape.vision_frames
        )
        scores = np.round(sentiment * 5) / 5  # steps of 0.2
        return {
            "raw_text": np.array(texts),
            "text": self.word_vectors[text_bert[:, 0]] * text_bert[:, 1, :, None],
            "text_bert": text_bert,
            "audio": audio,
            "vision": vision,
            "audio_lengths": audio_lengths,
            "vision_lengths": vision_lengths,
            "id": np.array([f"{split}{row // 10:03d}$_${row % 10}" for row in range(count)]),
            "annotations": np.array(
                [("Negative", "Neutral", "Positive")[int(np.sign(s)) + 1] for s in scores]
            ),
            "classification_labels": (np.sign(scores) + 1).astype(np.float32),
            "regression_labels": scores.astype(np.float32),
        }


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


def _review(rng: np.random.Generator, value: float) -> str:
    """One to three clauses whose mean valence is near the value."""
    clauses = []
    for _ in range(rng.integers(1, 4)):
        target = np.clip(value + rng.normal(scale=0.4), -2.9, 2.9)
        distances = np.abs(PHRASE_VALENCE - target) + rng.uniform(0, 0.3, size=len(PHRASES))
        strength, word = PHRASES[int(distances.argmin())]
        clauses.append(f"the {rng.choice(ASPECTS)} was {strength} {word}")
    text = clauses[0]
    for clause in clauses[1:]:
        text += f" {rng.choice(JOINS)} {clause}"
    return " ".join(f"{rng.choice(OPENERS)} {text} .".split())


def _frames(
    rng: np.random.Generator, values: np.ndarray, direction: np.ndarray, longest: int
) -> tuple[np.ndarray, np.ndarray]:
    """Noisy frames that carry a value along a direction, zeros behind each clip's length."""
    count, width = len(values), len(direction)
    lengths = rng.integers(max(1, longest // 4), longest + 1, size=count)
    frames = np.empty((count, longest, width), dtype=np.float32)
    for start in range(0, count, AT_ONCE):
        some = slice(start, start + AT_ONCE)
        rows = len(values[some])
        part = rng.normal(scale=0.7, size=(rows, longest, width))
        swing = 1.0 + 0.5 * rng.normal(size=(rows, longest, 1))  # strong and weak moments
        part += values[some, None, None] * swing * direction
        part *= (np.arange(longest) < lengths[some, None])[:, :, None]
        frames[some] = part
    return frames, lengths.astype(np.int64)
