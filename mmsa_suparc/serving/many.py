"""Many clips, scored into one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pandas as pd

from mmsa_suparc.errors import UserError
from mmsa_suparc.serving.prediction import Prediction, scores_table
from mmsa_suparc.videos.fet import ClipFeatures
from mmsa_suparc.videos.media import ClipError

#: Clips whose features are held at a time.
AT_A_TIME = 256

Extract = Callable[[str], ClipFeatures]
Score = Callable[[Sequence[ClipFeatures], Sequence[str | None]], "list[Prediction | ClipError]"]


def table_of(clips: Any, *, extract: Extract, score: Score) -> pd.DataFrame:
    """A row a clip, in order; see :meth:`SupArcPredictor.predict_many`.

    Args:
        clips: a table or mappings, see :func:`rows_of`.
        extract: the features of a video; may raise :class:`ClipError`.
        score: of features and words, a prediction each or why there is none.
    """
    rows = list(rows_of(clips))
    tables: list[pd.DataFrame] = []
    for start in range(0, len(rows), AT_A_TIME):
        some = rows[start : start + AT_A_TIME]
        outcomes: list[Prediction | ClipError | None] = [None] * len(some)
        features: dict[int, ClipFeatures] = {}
        for place, (_, video, _) in enumerate(some):
            try:
                empty = ClipFeatures(None, None, (), 0.0)
                features[place] = empty if video is None else extract(video)
            except ClipError as error:
                outcomes[place] = error
        if features:
            scored = score(list(features.values()), [some[place][2] for place in features])
            for place, one in zip(features, scored, strict=True):
                outcomes[place] = one
        tables.append(as_table([name for name, *_ in some], outcomes))
    return pd.concat(tables, ignore_index=True) if tables else as_table([], [])


def as_table(
    names: Sequence[str], outcomes: Sequence[Prediction | ClipError | None]
) -> pd.DataFrame:
    """A row a clip: its prediction, or in ``error`` why there is none."""
    rows: list[dict[str, Any]] = [
        {**scores_table([name], [found])[0], "error": ""} if isinstance(found, Prediction)
        else {"clip": name, "error": str(found)}
        for name, found in zip(names, outcomes, strict=True)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["clip", *Prediction.__dataclass_fields__, "error"])


def rows_of(clips: Any) -> Iterator[tuple[str, str | None, str | None]]:
    """(name, video, words) of the rows of a table or of mappings: ``video`` or ``path``, ``text``,
    and ``id`` if they have names.

    Raises:
        UserError: a row that has neither video nor text.
    """
    rows = clips.to_dict("records") if hasattr(clips, "to_dict") else clips
    for place, row in enumerate(rows):
        known = {key: value for key, value in row.items() if value is not None and value == value}
        video, text = known.get("video", known.get("path")), known.get("text")
        if video is None and text is None:
            raise UserError(f"clip {place}: {sorted(row)}; expected 'video', 'text' or both")
        name = known.get("id", place if video is None else video)
        yield str(name), None if video is None else str(video), None if text is None else str(text)
