"""A model card, filled from the run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmsa_suparc.bench.statistics import interval
from mmsa_suparc.runs.servable import Serving
from mmsa_suparc.version import __version__
from mmsa_suparc.videos.recipe import Recipe


def card(served: Serving) -> str:
    """What the model is, of what it is made, what was measured, and on what terms: Markdown."""
    low, high = served.score_range
    values, origin = served.config, served.origin
    name = values.get("data_name") or values.get("dataset_name")
    encoder = public(str(values.get("pretrained")))
    lines = [
        "---", "library_name: mmsa-suparc", "tags: [multimodal-sentiment-analysis]", "---", "",
        "# SupArc", "",
        f"Scores from {low:g} to {high:g} for text, audio and vision of a clip.", "",
        f"- Trained on: {name}, seed {served.seed}, by mmsa-suparc {__version__}"
        f"{_hash('feature file', origin.data)}",
        f"- Text encoder: {encoder}{_hash('contents', origin.encoder)}",
        f"- Audio and vision: {_making(served.recipe)}; values a frame: {served.widths}",
        f"- Losses: MAE + {values.get('weight_suparc')} × SupArc + "
        f"{values.get('weight_triplet')} × modality triplet + "
        f"{values.get('weight_masked', 0)} × MAE with modalities masked",
        "", *_measured(origin.test, served.seed), "## Licence", "",
        "The code, mmsa-suparc, is MIT. The weights hold those of the text encoder and were "
        f"trained on {name}: the terms of both apply to them. Whoever publishes this model states "
        "its licence in the head of this card.",
        "", "## Use", "", "```python", "from mmsa_suparc import SupArcPredictor",
        'SupArcPredictor.from_pretrained("THIS").predict(video="clip.mp4", text="…")',
        "```", "",
        "A score of a clip is a guess of a statistical model; it judges no person.", "",
    ]  # fmt: skip
    return "\n".join(lines)


def public(encoder: str) -> str:
    """An encoder's name on the hub, or that of its folder."""
    return Path(encoder).name if Path(encoder).is_absolute() else encoder


def _hash(what: str, found: str) -> str:
    return f" ({what} {found})" if found else ""


def _making(recipe: Recipe | None) -> str:
    """How the features were made of videos."""
    if recipe is None:
        return "features of unknown making"
    tools = [
        f"{name} by {(section or {}).get('tool', 'nothing')}"
        for name, section in (("sound", recipe.audio), ("faces", recipe.video))
    ]
    return (
        f"`mmsa extract` (MMSA-FET): {', '.join(tools)}, {recipe.fps:g} pictures a second, sound "
        f"at {recipe.sample_rate} Hz; the whole recipe is in serving.json"
    )


def _measured(test: Mapping[int, Mapping[str, float]], seed: int) -> Iterator[str]:
    """The test metrics of this seed, and of all seeds of its run where there are several."""
    own: Mapping[str, Any] = test.get(seed, {})
    if not own:
        return
    several = len(test) > 1
    yield from ("## Test split", "")
    head = ["metric", f"seed {seed}, this model"]
    if several:
        head.append(f"mean of {len(test)} seeds [95% interval of the mean, Student's t]")
    yield f"| {' | '.join(head)} |"
    yield "|".join(["", *["---"] * len(head), ""])
    for metric, value in own.items():
        cells = [metric, _number(value)]
        if several:
            cells.append(_over_seeds([one.get(metric, math.nan) for one in test.values()]))
        yield f"| {' | '.join(cells)} |"
    yield from (
        "", "The epoch was chosen by the validation split; the test split was measured once.", ""
    )  # fmt: skip


def _over_seeds(values: Sequence[float]) -> str:
    low, high = interval(values)
    return f"{_number(sum(values) / len(values))} [{_number(low)}, {_number(high)}]"


def _number(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else "n/a"
