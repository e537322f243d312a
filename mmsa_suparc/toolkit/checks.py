"""Checks of a model's values beyond their types: what every model has, sizes, one's own data."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from mmsa_suparc.data.fold import fold_of
from mmsa_suparc.errors import ConfigError, nearest, shown
from mmsa_suparc.names import (
    METRICS,
    MODALITIES,
    MOST_CLIPS,
    MOST_EPOCHS,
    MOST_LAYERS,
    MOST_UNITS,
)

#: The largest values of what every model has.
MOST_OF_ALL = {"batch_size": MOST_CLIPS, "early_stop": MOST_EPOCHS, "epochs": MOST_EPOCHS}
#: Settled by the data, whatever a file says.
FROM_DATA = ("feature_dims", "seq_lens", "train_samples")


def check(
    values: dict[str, Any], sources: dict[str, str], *, own_trainer: bool, own_data: bool
) -> None:
    """What a schema alone cannot say of a model's values.

    Args:
        values: of every key.
        sources: where each comes from, for messages.
        own_trainer: of a registered model, not of the toolkit's.
        own_data: the user's, not a data set of the toolkit's.

    Raises:
        ConfigError: names the source, the key, what was found and what was expected.
    """
    _check_common(values, sources, own_trainer=own_trainer)
    if not own_trainer:
        _check_sizes(values, sources)
    if own_data:
        _check_own_data(values, sources)


def _check_common(values: dict[str, Any], sources: dict[str, str], *, own_trainer: bool) -> None:
    """Keys that mean the same in every model."""
    fold_of(values, sources["fold"])
    for key, most in MOST_OF_ALL.items():
        value = values.get(key)
        if value is not None and (type(value) is not int or not 1 <= value <= most):
            raise ConfigError(
                f"{sources[key]}: {key} = {shown(value)}: expected a whole number from 1 to {most}"
            )
    for key, value in values.items():
        if not all(map(math.isfinite, _numbers_in(value))):
            raise ConfigError(f"{sources[key]}: {key} = {shown(value)}: expected finite numbers")
    kept = values["modalities"]
    if not kept or not set(map(str, kept)) <= set(MODALITIES):
        raise ConfigError(
            f"{sources['modalities']}: modalities = {shown(kept)}: expected one or more of "
            f"{', '.join(MODALITIES)}"
        )
    name = values["KeyEval"]
    if name not in METRICS:
        raise ConfigError(
            f"{sources['KeyEval']}: KeyEval = {shown(name)}: unknown metric{nearest(name, METRICS)}"
        )
    if not own_trainer and name != "Loss" and METRICS[name].better == "lower":
        raise ConfigError(
            f"{sources['KeyEval']}: KeyEval = {name}: the toolkit's trainers would look for its "
            "highest value; use Loss"
        )


def _check_sizes(values: dict[str, Any], sources: dict[str, str]) -> None:
    """Sizes of the toolkit's models, whose configuration has no bounds of its own."""
    for key, value in values.items():
        if key in FROM_DATA or key in MOST_OF_ALL or key.startswith("missing_"):
            continue
        if isinstance(value, float):
            continue  # a rate or a weight
        most = MOST_LAYERS if re.search("layer|level", key) else MOST_UNITS
        if any(abs(number) > most for number in _numbers_in(value)):
            raise ConfigError(f"{sources[key]}: {key} = {shown(value)}: expected at most {most}")


def _check_own_data(values: dict[str, Any], sources: dict[str, str]) -> None:
    """What the user says of data of his own: a range, whose metrics, a name for files."""
    found = values["score_range"]
    numbers = [each for each in found if type(each) in (int, float)]
    if not (len(found) == len(numbers) == 2 and numbers[0] < numbers[1]):
        raise ConfigError(
            f"{sources['score_range']}: score_range = {shown(found)}: expected the lowest score, "
            "then the highest"
        )
    for key, pattern, expected in (
        ("metrics", "mosi|sims", "mosi or sims"),
        ("data_name", r"[\w.-]{1,100}", "letters, digits, . _ -: it names files"),
    ):
        if not re.fullmatch(pattern, values[key]):
            raise ConfigError(f"{sources[key]}: {key} = {shown(values[key])}: expected {expected}")


def _numbers_in(value: Any) -> Iterator[float]:
    """All numbers in a value, however deep in lists and mappings."""
    if isinstance(value, (Mapping, list, tuple)):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _numbers_in(each)
    elif isinstance(value, (int, float)):
        yield value
