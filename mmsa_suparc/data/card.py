"""A data card: what a feature file holds, where it is from, and what its splits share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmsa_suparc.data import near_duplicates, reader, schema
from mmsa_suparc.data.files import sha256
from mmsa_suparc.data.groups import groups_of_ids
from mmsa_suparc.data.near_duplicates import Pair
from mmsa_suparc.data.releases import release_of
from mmsa_suparc.names import SPLITS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Fields = Mapping[str, Any]
MOST_SHOWN = 5
#: What a card looks at is the format alone.
ANY = schema.Rules(lengths=False, allow_leak=True)


@dataclass
class Leak:
    """What two splits share."""

    what: str
    one: str
    other: str
    count: int
    examples: list[str] = field(default_factory=list)


@dataclass
class Card:
    """A file, and what was found in it."""

    file: Path
    checksum: str
    release: str
    content: dict[str, dict[str, Any]]
    leaks: list[Leak]


def make_card(file: Path) -> Card:
    """Look at a feature file.

    Raises:
        UserError: it is none, or a malformed one.
    """
    content = reader.read(file)
    faults = schema.check(content, ANY)
    if faults:
        raise schema.FaultsError(file, faults)
    content = schema.normalised(content)
    return Card(file, sha256(file), release_of(file), content, list(_leaks(content)))


def _leaks(content: dict[str, dict[str, Any]]) -> Iterator[Leak]:
    """The splits' common clips and videos, and near duplicates by text and by audio."""
    ids = {split: [str(name) for name in content[split]["id"]] for split in SPLITS}
    videos = {split: groups_of_ids(ids[split]) for split in SPLITS}
    sounds = {
        split: near_duplicates.signatures(fields["audio"], _lengths(fields))
        for split, fields in content.items()
    }
    heard = sounds["train"][~np.isnan(sounds["train"][:, 0])]
    unit = heard.std(axis=0) if len(heard) else np.zeros(sounds["train"].shape[1])
    for one, other in combinations(SPLITS, 2):
        named: list[tuple[str, Any, Any]] = [("clips of the same id", ids[one], ids[other])]
        if videos[one] is not None and videos[other] is not None:
            named.append(("videos (or speakers)", videos[one], videos[other]))
        for what, ours, theirs in named:
            both = sorted(set(ours) & set(theirs))
            yield Leak(what, one, other, len(both), both[:MOST_SHOWN])
        texts = (content[split]["raw_text"] for split in (one, other))
        for what, pairs in (
            ("pairs of nearly the same text", near_duplicates.alike_texts(*texts)),
            (
                "pairs of nearly the same audio",
                near_duplicates.alike_sounds(sounds[one], sounds[other], unit),
            ),
        ):
            yield Leak(what, one, other, len(pairs), list(_named(pairs, ids[one], ids[other])))


def _named(pairs: list[Pair], ours: list[str], theirs: list[str]) -> Iterator[str]:
    """The most alike ones."""
    for pair in sorted(pairs, key=lambda pair: -pair.alike)[:MOST_SHOWN]:
        yield f"{ours[pair.one]} – {theirs[pair.other]} ({pair.alike:.2f})"


def _lengths(fields: Fields) -> np.ndarray:
    """Frames of audio that count; of a file without lengths, up to the last that is not zero."""
    if "audio_lengths" in fields:
        return np.reshape(fields["audio_lengths"], -1)
    filled: np.ndarray = np.asarray(np.asarray(fields["audio"]).any(axis=2))
    longest = filled.shape[1]
    return np.where(filled.any(axis=1), longest - filled[:, ::-1].argmax(axis=1), 0)


def markdown(card: Card, picture: str = "") -> str:
    """The card as a page.

    Args:
        card: to write down.
        picture: the path of the histogram, as the page names it.
    """
    parts = [
        f"# Data card: {card.file.name}",
        _table(("", ""), list(_provenance(card))),
        "## Splits",
        _table(
            ("split", "clips", "videos", "lowest", "mean", "highest", "< 0", "= 0", "> 0"),
            [_split_row(split, card.content[split]) for split in SPLITS],
        ),
        "## Scores",
        *([f"![how many clips have which score]({picture})"] if picture else []),
        _table(("score", *SPLITS), _histogram(card)),
        "## Fields",
        _table(("split", "field", "shape", "type"), list(_shapes(card))),
        "## What splits share",
        _table(
            ("what", "between", "found", "such as"),
            [
                (leak.what, f"{leak.one}, {leak.other}", leak.count, "; ".join(leak.examples))
                for leak in card.leaks
            ],
        ),
        f"Texts of at least {near_duplicates.FEWEST_GRAMS} different {near_duplicates.GRAM}-grams "
        f"of letters are nearly the same from a Jaccard index of {near_duplicates.ALIKE:g} on; "
        "sounds, where mean and deviation of each audio value differ by at most "
        f"{near_duplicates.SOUNDS_THE_SAME:g} standard deviations.",
    ]
    return "\n\n".join(parts) + "\n"


def _provenance(card: Card) -> Iterator[tuple[str, str]]:
    yield "file", f"`{card.file.name}`, {card.file.stat().st_size:,} bytes"
    yield "SHA-256", f"`{card.checksum}`"
    yield "known as", card.release or "none of the published files whose checksums are known"
    recipe = card.content["train"].get("recipe")
    if isinstance(recipe, str):
        yield "made by", f"`mmsa extract` or `mmsa data convert`: `{recipe}`"


def _split_row(split: str, fields: Fields) -> tuple[Any, ...]:
    scores = np.asarray(fields["regression_labels"], dtype=float).reshape(-1)
    videos = groups_of_ids(fields["id"])
    return (
        split, len(scores), "not told by the ids" if videos is None else len(set(videos)),
        *(f"{number:.3f}" for number in (scores.min(), scores.mean(), scores.max())),
        *(int(part.sum()) for part in (scores < 0, scores == 0, scores > 0)),
    )  # fmt: skip


def edges(card: Card) -> np.ndarray:
    """Limits of twelve equal classes over all scores."""
    scores = np.concatenate([_scores(card, split) for split in SPLITS])
    low, high = float(scores.min()), float(scores.max())
    return np.linspace(low, high if high > low else low + 1.0, 13)


def _scores(card: Card, split: str) -> np.ndarray:
    return np.asarray(card.content[split]["regression_labels"], dtype=float).reshape(-1)


def _histogram(card: Card) -> list[tuple[Any, ...]]:
    limits = edges(card)
    counts = {split: np.histogram(_scores(card, split), limits)[0] for split in SPLITS}
    return [
        (f"{limits[n]:.2f} to {limits[n + 1]:.2f}", *(int(counts[split][n]) for split in SPLITS))
        for n in range(len(limits) - 1)
    ]


def _shapes(card: Card) -> Iterator[tuple[str, ...]]:
    for split in SPLITS:
        for name, value in card.content[split].items():
            if isinstance(value, np.ndarray):
                yield split, f"`{name}`", " × ".join(map(str, value.shape)), str(value.dtype)


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    """In Markdown; what a file says cannot break out of its cell."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(
        "| " + " | ".join(" ".join(str(cell).replace("|", "\\|").split()) for cell in row) + " |"
        for row in lines
    )


def draw(card: Card) -> Figure:
    """How many clips have which score, by split, drawn without a display."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    plot = figure.subplots()
    plot.hist([_scores(card, split) for split in SPLITS], bins=list(edges(card)), label=SPLITS)
    plot.set(xlabel="score", ylabel="clips", title=card.file.name)
    plot.spines[["top", "right"]].set_visible(False)
    plot.legend(frameon=False)
    return figure
