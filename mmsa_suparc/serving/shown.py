"""What the page shows of scores, as HTML; everything that anybody typed is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from mmsa_suparc.names import MODALITIES
from mmsa_suparc.serving.prediction import Prediction


@dataclass(frozen=True)
class Spread:
    """The lowest and the highest of several seeds."""

    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """None of fewer than two."""
        return cls(min(values), max(values)) if len(values) > 1 else None


@dataclass(frozen=True)
class Try:
    """A clip that was scored while the page is open.

    Args:
        words: what was typed.
        clip: its length in words; empty without a clip.
        used: the modalities that were ticked.
        score: of the seed that is served.
        spread: of all seeds, where there are several.
    """

    words: str
    clip: str
    used: tuple[str, ...]
    score: float
    spread: Spread | None


@dataclass(frozen=True)
class _Bar:
    """What a modality adds, and where that is drawn: percent of the track, whose middle is 0."""

    name: str
    adds: float | None
    spread: Spread | None
    half: float  # of the score range: what a full half of the track means

    def _place(self, adds: float) -> float:
        return round(50.0 + 50.0 * min(max(adds / self.half, -1.0), 1.0), 2)

    @property
    def left(self) -> float:
        return min(self._place(self.adds or 0.0), 50.0)

    @property
    def width(self) -> float:
        return round(abs(self._place(self.adds or 0.0) - 50.0), 2)

    @property
    def spread_left(self) -> float:
        return self._place(self.spread.low) if self.spread else 50.0

    @property
    def spread_width(self) -> float:
        high = self._place(self.spread.high) if self.spread else 50.0
        return round(high - self.spread_left, 2)


def score(
    predictions: Sequence[Prediction], score_range: tuple[float, float], seed: int = 0
) -> str:
    """A scale with the score, and a bar a modality.

    Args:
        predictions: of the seed that is served, then of the run's others.
        score_range: lowest and highest score.
        seed: the one that is served.
    """
    low, high = score_range
    found = predictions[0]
    half = (high - low) / 2 or 1.0

    def place(value: float) -> float:
        return round(100.0 * min(max((value - low) / (2 * half), 0.0), 1.0), 2)

    return _template("score.html").render(
        found=found, seed=seed, seeds=len(predictions), signed=signed, place=place,
        spread=Spread.of([one.score for one in predictions]),
        bars=[_bar(name, predictions, half) for name in MODALITIES],
        low=_end(low, low < 0), high=_end(high, low < 0), middle=_end((low + high) / 2, False),
        half=f"{half:g}",
    )  # fmt: skip


def _end(value: float, with_sign: bool) -> str:
    return (f"{value:+g}" if with_sign else f"{value:g}").replace("-", "−")


def _bar(name: str, predictions: Sequence[Prediction], half: float) -> _Bar:
    adds = [
        one.score - without
        for one in predictions
        if (without := getattr(one, f"without_{name}")) is not None
    ]
    return _Bar(name, adds[0] if adds else None, Spread.of(adds), half)


def history(tries: Sequence[Try], dropped: int = 0) -> str:
    """The tries of a page as a table, the last one first; nothing of none.

    Args:
        tries: in the order in which they were made.
        dropped: how many older ones are not among them.
    """
    return _template("history.html").render(
        tries=list(reversed(tries)), dropped=dropped, signed=signed
    )


def signed(value: float) -> str:
    """A score with its sign, and two decimals."""
    return f"{value:+.2f}".replace("-", "−") if round(value, 2) else "0.00"


def css() -> str:
    """The page's own style."""
    return files(__package__).joinpath("templates/page.css").read_text(encoding="utf-8")


@cache
def _template(name: str) -> Template:
    loader = PackageLoader("mmsa_suparc.serving", "templates")
    return Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True
    ).get_template(name)
