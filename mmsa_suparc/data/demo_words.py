"""The words of the embedded data sets: what is said, and how good it is.

A review is one to three clauses, *aspect, strength, word*, whose valence is the word's times the
strength's, in score units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

#: At the places that they have in BERT's vocabularies: TFR_NET writes 100 for [UNK].
SPECIAL = (
    "[PAD]",
    *(f"[unused{place}]" for place in range(1, 100)),
    *("[UNK]", "[CLS]", "[SEP]", "[MASK]"),
)


@dataclass(frozen=True)
class Words:
    """A language's words, and how they are put together and taken apart again.

    Args:
        valence: of each word that praises or blames, score units.
        strength: what a word before it multiplies its valence by; "" is none.
        clause: with the places ``aspect``, ``strength`` and ``word``.
        between: two words.
        end: of a review.
        tokens: what the encoder's tokenizer makes of a text.
        longest: most tokens of a review, its first and last sign among them.
    """

    valence: Mapping[str, float]
    strength: Mapping[str, float]
    aspects: tuple[str, ...]
    openers: tuple[str, ...]
    joins: tuple[str, ...]
    clause: str
    between: str
    end: str
    tokens: Callable[[str], list[str]]
    longest: int

    @cached_property
    def phrases(self) -> list[tuple[str, str]]:
        """Every (strength, word)."""
        return list(product(self.strength, self.valence))

    @cached_property
    def phrase_valence(self) -> np.ndarray:
        """Of each phrase, score units."""
        return np.array([self.strength[how] * self.valence[word] for how, word in self.phrases])

    def vocabulary(self) -> list[str]:
        """Every token, special ones first; the place in the list is the token id."""
        fixed = (self.clause.format(aspect="", strength="", word=""), self.end)
        some = (*self.openers, *self.joins, *self.valence, *self.aspects, *self.strength, *fixed)
        return [*SPECIAL, *sorted({token for text in some for token in self.tokens(text)})]

    def review(self, rng: np.random.Generator, value: float) -> str:
        """One to three clauses whose mean valence is near the value."""
        clauses = []
        for _ in range(rng.integers(1, 4)):
            target = np.clip(value + rng.normal(scale=0.4), -2.9, 2.9)
            distances = np.abs(self.phrase_valence - target)
            distances += rng.uniform(0, 0.3, size=len(self.phrases))
            strength, word = self.phrases[int(distances.argmin())]
            aspect = rng.choice(self.aspects)
            clauses.append(self.clause.format(aspect=aspect, strength=strength, word=word))
        text = clauses[0]
        for clause in clauses[1:]:
            text = self.between.join((text, rng.choice(self.joins), clause))
        whole = self.between.join((rng.choice(self.openers), text, self.end))
        return self.between.join(whole.split())


ENGLISH = Words(
    valence={
        "superb": 2.1, "brilliant": 2.0, "wonderful": 2.0, "excellent": 1.8, "great": 1.6,
        "lovely": 1.4, "good": 1.1, "nice": 0.9, "pleasant": 0.8, "decent": 0.5, "fine": 0.3,
        "ordinary": 0.0, "average": 0.0, "plain": -0.3, "flat": -0.6, "dull": -0.9, "weak": -1.0,
        "bad": -1.3, "boring": -1.4, "poor": -1.5, "awful": -1.9, "terrible": -2.0,
        "horrible": -2.1,
    },
    strength={"": 1.0, "really": 1.3, "very": 1.4, "quite": 0.8, "somewhat": 0.5, "not": -0.7},
    aspects=(
        "plot", "acting", "music", "ending", "script", "camera", "dialogue", "story", "cast",
        "pacing", "humor", "film", "scene", "hero", "villain",
    ),
    openers=("", "", "well ,", "honestly ,", "i think", "you know ,", "for me"),
    joins=("and", "but", ","),
    clause="the {aspect} was {strength} {word}",
    between=" ",
    end=".",
    tokens=str.split,
    longest=25,
)  # fmt: skip

#: BERT's tokenizers take Chinese apart into characters.
CHINESE = Words(
    valence={
        "完美": 2.1, "精彩": 2.0, "优秀": 1.9, "出色": 1.7, "动人": 1.5, "好看": 1.3, "有趣": 1.1,
        "用心": 0.9, "自然": 0.7, "顺眼": 0.5, "还行": 0.3, "普通": 0.0, "一般": -0.1,
        "平淡": -0.5, "沉闷": -0.8, "粗糙": -1.0, "无聊": -1.2, "难看": -1.5, "糟糕": -1.8,
        "差劲": -1.9, "可怕": -2.0, "恶心": -2.1,
    },
    strength={"": 1.0, "真的": 1.3, "非常": 1.4, "比较": 0.8, "有点": 0.5, "不": -0.7},
    aspects=(
        "剧情", "表演", "音乐", "结局", "剧本", "镜头", "对白", "故事", "演员", "节奏", "笑点",
        "电影", "场面", "主角", "反派",
    ),
    openers=("", "", "嗯，", "说实话，", "我觉得", "你知道，", "对我来说，"),
    joins=("而且", "但是", "，"),
    clause="{aspect}{strength}{word}",
    between="",
    end="。",
    tokens=list,
    longest=30,
)  # fmt: skip
