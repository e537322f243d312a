"""What a run reads: its feature file, with modalities of other files, checked without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from mmsa_suparc.data import reader, schema
from mmsa_suparc.data.fold import fold_of
from mmsa_suparc.errors import UserError
from mmsa_suparc.names import SCORE_RANGES, SPLITS
from mmsa_suparc.toolkit import settings
from mmsa_suparc.toolkit.datasets import treated_as
from mmsa_suparc.toolkit.settings import ModelConfig

#: The fields that ``-Ft -Fa -Fv`` take from another file.
FIELDS_OF = {
    "T": ("text", "text_bert"),
    "A": ("audio", "audio_lengths"),
    "V": ("vision", "vision_lengths"),
}


def of_files(config: ModelConfig, feature_files: Mapping[str, str]) -> reader.FeatureFile:
    """The feature file, with modalities of other files where ``-Ft -Fa -Fv`` ask for them; those
    are features of another making, so the file's own recipe no longer holds. Of a fold only the
    splits that are pooled.

    Args:
        config: names the feature file.
        feature_files: files to take modalities from, by ``feature_T``, ``feature_A``,
            ``feature_V``.

    Raises:
        UserError: one that is no feature file, or holds other clips.
    """
    content = reader.read(config.feature_path)
    for flag, name in feature_files.items():
        other = reader.read(name)
        _refuse_other_clips(content, other, f"-F{flag[-1].lower()} {name}")
        content = _with_modality(content, other, flag[-1])
    fold = fold_of(config.values)
    return content if fold is None else {split: content[split] for split in fold.pool}


def checked(
    config: ModelConfig,
    feature_files: Mapping[str, str],
    *,
    allow_leak: bool = False,
    allow_label_range: bool = False,
) -> reader.FeatureFile:
    """What :func:`of_files` gives, without a fault.

    Args:
        config: of the run.
        feature_files: see :func:`of_files`.
        allow_leak: clips may be in two splits.
        allow_label_range: scores may be beyond the data set's range.

    Raises:
        UserError: no such file, or all faults of one.
    """
    path = config.feature_path
    settings.find_inputs(path, feature_files)
    content = of_files(config, feature_files)
    rules = schema.Rules(
        score_range=None if allow_label_range else known_range(config, content),
        lengths=not config.values["need_data_aligned"],
        unimodal="sims" in treated_as(config.dataset),
        allow_leak=allow_leak,
    )
    faults = schema.check(content, rules)
    if faults:
        others = {
            name: file for flag, file in feature_files.items() for name in FIELDS_OF[flag[-1]]
        }
        raise schema.FaultsError(path, faults, others=others)
    return content


def record_of(content: reader.FeatureFile) -> dict[str, Any]:
    """What ``mmsa extract`` wrote of a feature file; nothing for other files."""
    try:
        found = json.loads(content["train"].get("recipe", "{}"))
    except (TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def known_range(config: ModelConfig, content: reader.FeatureFile) -> tuple[float, float] | None:
    """Lowest and highest score, where they are known: as the user says, as the file says, or as
    the data set has them."""
    said = config.values.get("score_range")
    if said and "score_range" not in config.chosen:
        said = record_of(content).get("score_range", said)
    return (said[0], said[1]) if said else SCORE_RANGES.get(config.dataset)


def _refuse_other_clips(content: reader.FeatureFile, other: reader.FeatureFile, named: str) -> None:
    """Clips of two files are put together by their places, so the places have to agree.

    Raises:
        UserError: the first that does not.
    """
    for split in SPLITS:
        both = (np.ravel(part[split].get("id", ())) for part in (content, other))
        for place, (ours, found) in enumerate(zip(*both, strict=False)):
            if str(ours) != str(found):
                raise UserError(
                    f"{named}: {split}: clip {place} is '{found}'; expected '{ours}', the "
                    "same clips in the same order as in the feature file"
                )


def _with_modality(
    content: reader.FeatureFile, other: reader.FeatureFile, letter: str
) -> reader.FeatureFile:
    """The content with one modality's fields from another file."""
    outdated = {*FIELDS_OF[letter], *(("recipe",) if letter in "AV" else ())}
    return {
        split: {
            **{name: value for name, value in content[split].items() if name not in outdated},
            **{name: other[split][name] for name in FIELDS_OF[letter] if name in other[split]},
        }
        for split in SPLITS
    }
