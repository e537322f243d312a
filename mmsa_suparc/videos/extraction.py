"""From a folder of videos to a feature file: many clips at a time, each once, none in the way."""

from __future__ import annotations

import json
import threading
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mmsa_suparc.data import safe_pickle
from mmsa_suparc.data.cache import file_identity, key_of
from mmsa_suparc.data.files import write_atomically, write_text
from mmsa_suparc.data.groups import FIELD
from mmsa_suparc.errors import UserError
from mmsa_suparc.names import SPLITS
from mmsa_suparc.videos import recipe as recipes
from mmsa_suparc.videos.clip_table import Row
from mmsa_suparc.videos.fet import ClipFeatures, Extractor
from mmsa_suparc.videos.media import ClipError, Limits
from mmsa_suparc.videos.recipe import FROM_VIDEO, Normalisation, Recipe


@dataclass
class Extracted:
    """Features by clip, and why some have none."""

    features: dict[str, ClipFeatures] = field(default_factory=dict)
    faults: list[tuple[str, str]] = field(default_factory=list)


def extract_all(
    rows: Sequence[Row],
    recipe: Recipe,
    folder: Path,
    *,
    jobs: int = 1,
    python: str | None = None,
    limits: Limits | None = None,
    on_clip: Callable[[Row, str], None] = lambda row, word: None,
) -> Extracted:
    """Extract every clip that is not in ``folder`` yet; a bad one does not stop the others.

    Args:
        rows: the clips.
        recipe: what to extract.
        folder: keeps each clip's features, under a name made of the video and the recipe.
        jobs: clips at a time, each with a process of MMSA-FET.
        python: of the environment that has MMSA-FET.
        limits: what one clip may cost.
        on_clip: told of each clip: ``done``, ``kept`` (it was there) or the fault.

    Raises:
        UserError: MMSA-FET is not installed there.
    """
    local = threading.local()
    open_ones: list[Extractor] = []

    def one(row: Row) -> tuple[ClipFeatures | str, str]:
        target = folder / f"{_address(row.path, recipe)}.npz"
        kept = _load(target)
        if kept is not None:
            return kept, "kept"
        if not hasattr(local, "extractor"):
            local.extractor = Extractor(recipe, python=python, limits=limits)
            open_ones.append(local.extractor)
        try:
            found = local.extractor(row.path)
        except ClipError as error:
            return str(error), str(error)
        write_atomically(target, lambda file: _save(file, found))
        return found, "done"

    result = Extracted()
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        futures: dict[Future[tuple[ClipFeatures | str, str]], Row] = {
            pool.submit(one, row): row for row in rows
        }
        try:
            for future in as_completed(futures):
                row = futures[future]
                found, word = future.result()
                on_clip(row, word)
                if isinstance(found, str):
                    result.faults.append((row.id, found))
                else:
                    result.features[row.id] = found
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        finally:
            for extractor in open_ones:
                extractor.close()
    return result


def feature_file(
    rows: Sequence[Row],
    splits: Sequence[str],
    features: dict[str, ClipFeatures],
    recipe: Recipe,
    *,
    score_range: tuple[float, float],
) -> dict[str, dict[str, Any]]:
    """The toolkit's format: a dictionary of splits, normalised by the training split.

    A missing modality has length 0. ``group`` is each clip's speaker or video. Each split also
    holds ``recipe``, in JSON: all that is needed to make the same features of another clip.

    Raises:
        UserError: a split has no clip.
    """
    clips = [(row, split) for row, split in zip(rows, splits, strict=True) if row.id in features]
    counts = Counter(split for _, split in clips)
    for split in SPLITS:
        if not counts[split]:
            raise UserError(f"split '{split}' has no clip that could be extracted")
    record: dict[str, Any] = {"recipe": recipe.model_dump(), "score_range": list(score_range)}
    normalise: dict[str, Normalisation] = {}
    for name in FROM_VIDEO:
        seen = [
            frames for row, split in clips
            if split == "train" and (frames := getattr(features[row.id], name)) is not None
        ]  # fmt: skip
        if seen:
            normalise[name] = Normalisation.of(seen)
            record[name] = normalise[name].as_json()
    return {
        split: _split([row for row, s in clips if s == split], features, recipe, normalise, record)
        for split in SPLITS
    }


def _split(
    rows: Sequence[Row],
    features: dict[str, ClipFeatures],
    recipe: Recipe,
    normalise: dict[str, Normalisation],
    record: dict[str, Any],
) -> dict[str, Any]:
    scores = np.array([row.score for row in rows], dtype=np.float32)
    words = np.array(["Negative", "Neutral", "Positive"])
    content: dict[str, Any] = {
        "id": [row.id for row in rows],
        FIELD: [row.group if row.group != row.id else "" for row in rows],
        "raw_text": [row.text for row in rows],
        "regression_labels": scores,
        "classification_labels": np.sign(scores) + 1,
        "annotations": words[np.sign(scores).astype(int) + 1].tolist(),
        "recipe": json.dumps(record),
    }
    for name in FROM_VIDEO:
        frames, lengths = shaped([features[row.id] for row in rows], name, recipe, normalise)
        content[name], content[f"{name}_lengths"] = frames, lengths
    return content


def shaped(
    clips: Sequence[ClipFeatures], name: str, recipe: Recipe, normalise: dict[str, Normalisation]
) -> tuple[np.ndarray, np.ndarray]:
    """One modality of some clips: normalised, cut and padded, (N, T, D) and lengths (N,).

    Without a normalisation no training clip has the modality: it is missing everywhere.
    """
    length = getattr(recipe.frames, name)
    if name not in normalise:
        return recipes.padded([None] * len(clips), length)
    frames = [getattr(clip, name) for clip in clips]
    width = len(normalise[name].mean)
    for clip in frames:
        if clip is not None and clip.shape[1] != width:
            raise UserError(
                f"{name}: {clip.shape[1]} values a frame; expected {width}: another recipe?"
            )
    whole, lengths = recipes.padded(
        [None if clip is None else normalise[name](clip) for clip in frames], length
    )
    if whole.shape[2] != width:  # no clip of these has it
        whole = np.zeros((len(frames), length, width), dtype=np.float32)
    return whole, lengths


def write_feature_file(path: Path, content: dict[str, dict[str, Any]]) -> None:
    """Whole or not at all."""
    write_atomically(path, lambda file: safe_pickle.dump(content, file))


def write_report(path: Path, rows: Sequence[tuple[str, str, str]]) -> None:
    """A line a clip: its name, ``done`` or ``skipped``, and what is to be said of it."""
    table = pd.DataFrame(rows, columns=["clip", "status", "note"])
    write_text(path, table.to_csv(index=False))


def _address(video: Path, recipe: Recipe) -> str:
    """Of a video as it is now and a recipe."""
    try:
        stamp = file_identity(video)
    except OSError:
        stamp = str(video)
    return key_of(stamp, json.dumps(recipe.model_dump(), sort_keys=True))


def _save(file: Any, found: ClipFeatures) -> None:
    arrays = {name: getattr(found, name) for name in FROM_VIDEO}
    notes = np.array(json.dumps({"notes": found.notes, "seconds": found.seconds}))
    np.savez(file, notes=notes, **{k: v for k, v in arrays.items() if v is not None})


def _load(path: Path) -> ClipFeatures | None:
    """What an earlier start kept; None where it kept nothing that can be read."""
    try:
        with np.load(path) as kept:
            notes = json.loads(str(kept["notes"]))
            audio, vision = (kept.get(name, None) for name in FROM_VIDEO)
            return ClipFeatures(audio, vision, tuple(notes["notes"]), notes["seconds"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
