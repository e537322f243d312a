"""The pictures of the method, drawn while the site is built."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt
import numpy as np
from mkdocs.structure.files import File, Files

BLUE, ORANGE, GREY = "#3f6fb5", "#d9822b", "#888888"
#: Words stay words, in the reader's font; the same file every time.
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "mmsa-suparc", "font.size": 11}


def on_files(files: Files, config: Any) -> Files:
    """Put them where ``explanation/method.md`` looks for them."""
    for name, draw in PICTURES.items():
        path = f"images/method-{name}.svg"
        files.append(File.generated(config, path, content=svg(draw)))
    return files


def svg(draw: Callable[[Any], None], size: tuple[float, float] = (6.4, 3.2)) -> str:
    """A picture as text."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=size, layout="constrained")
        draw(axes)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)
    # The declaration of its grammar is an address, which nobody needs to ask.
    return "<svg" + file.getvalue().split("<svg", 1)[1]


def arrow(axes: Any, degrees: float, colour: str, words: str) -> None:
    """A unit vector from the origin, with words at its end."""
    x, y = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    axes.annotate("", (x, y), (0, 0), arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 2})
    axes.text(
        1.07 * x, 1.07 * y, words, color=colour, ha="left" if x > -0.1 else "right", va="center"
    )


def arc(axes: Any, start: float, end: float, radius: float, words: str, colour: str = GREY) -> None:
    """An angle between two directions, named."""
    at = np.radians(np.linspace(start, end, 50))
    axes.plot(radius * np.cos(at), radius * np.sin(at), color=colour, lw=1)
    middle = np.radians((start + end) / 2)
    axes.text(
        (radius + 0.08) * np.cos(middle), (radius + 0.08) * np.sin(middle), words,
        color=colour, ha="center", va="center",
    )  # fmt: skip


def half_circle(axes: Any) -> None:
    """The upper half of the unit circle, without axes."""
    at = np.linspace(0, np.pi, 100)
    axes.plot(np.cos(at), np.sin(at), color=GREY, lw=0.5, ls=":")
    axes.set(xlim=(-1.9, 1.9), ylim=(-0.05, 1.2), aspect="equal")
    axes.axis("off")


def angles(axes: Any) -> None:
    """Clips of near scores at small angles, others at large ones."""
    half_circle(axes)
    for degrees, colour, words in (
        (20, BLUE, "anchor, y = +2.0"), (42, BLUE, "positive, y = +1.6"),
        (100, ORANGE, "negative, y = 0"), (160, ORANGE, "negative, y = −2.5"),
    ):  # fmt: skip
        arrow(axes, degrees, colour, words)
    arc(axes, 20, 42, 0.62, "θ", BLUE)
    arc(axes, 20, 160, 0.25, "", ORANGE)
    axes.text(-0.3, 0.28, "θ", color=ORANGE, ha="center")


def pairs(axes: Any) -> None:
    """The interval of an anchor's positives on the line of scores."""
    anchor, threshold = 0.2, 0.5
    scores = np.array([-2.7, -1.8, -0.9, -0.1, 0.5, 1.1, 1.9, 2.8])
    near = np.abs(scores - anchor) <= threshold
    axes.axvspan(anchor - threshold, anchor + threshold, color=BLUE, alpha=0.15, lw=0)
    axes.axvline(0, color=GREY, lw=0.8, ls=":")
    axes.scatter(scores[near], np.zeros(near.sum()), s=90, color=BLUE, label="positive")
    axes.scatter(scores[~near], np.zeros((~near).sum()), s=90, color=ORANGE, label="negative")
    axes.scatter([anchor], [0], s=150, color="black", marker="*", label="anchor, y = 0.2")
    axes.text(anchor, 0.6, "y ± T_H", color=BLUE, ha="center")
    axes.set(xlim=(-3.2, 3.2), ylim=(-1, 1), yticks=[], xlabel="score y")
    axes.legend(loc="lower left", frameon=False, ncols=3)
    axes.spines[["left", "top", "right"]].set_visible(False)


def margin(axes: Any) -> None:
    """A negative pair's logit, for three score differences."""
    theta = np.linspace(0, np.pi, 200)
    axes.plot(np.degrees(theta), np.cos(theta), color=GREY, ls="--", label="no margin")
    for difference, colour in ((1, "#f0c48f"), (3, ORANGE), (6, "#8a4b0f")):
        moved = np.cos(np.maximum(theta - 0.1 * difference, 0))
        axes.plot(np.degrees(theta), moved, color=colour, label=f"Δ = {difference}, m = 0.1")
    axes.set(xlabel="angle θ between two negatives, degrees", ylabel="cos(θ − mΔ)", xlim=(0, 180))
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def triplet(axes: Any) -> None:
    """The complete vector, one masked, two masked."""
    half_circle(axes)
    arrow(axes, 25, "black", "f: text, audio, vision")
    arrow(axes, 55, BLUE, "vision masked")
    arrow(axes, 110, ORANGE, "vision and audio masked")
    arc(axes, 25, 55, 0.7, "", BLUE)
    arc(axes, 25, 110, 0.28, "", ORANGE)


PICTURES = {"angles": angles, "pairs": pairs, "margin": margin, "triplet": triplet}
