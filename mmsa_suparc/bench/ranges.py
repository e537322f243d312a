"""What to search for, and whether it can be: checked before a library for it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError, model_validator

from mmsa_suparc.config import Float, Layer, plugin_configs, read_file
from mmsa_suparc.data.fold import Fold
from mmsa_suparc.errors import ConfigError, UserError, nearest, shown
from mmsa_suparc.names import LARGEST_SEED, METRICS
from mmsa_suparc.toolkit import settings


class Range(BaseModel):
    """Where to search for one value: between two numbers, or among choices."""

    model_config = ConfigDict(extra="forbid")

    low: Float | None = None
    high: Float | None = None
    log: StrictBool = False
    kind: Literal["float", "int"] = "float"
    choices: Annotated[list[Any], Field(max_length=100)] | None = None

    @model_validator(mode="after")
    def _complete(self) -> Range:
        numbers = self.low is not None and self.high is not None
        if numbers == bool(self.choices):
            raise ValueError("expected low and high, or choices")
        if numbers and not (self.low < self.high and (self.low > 0 or not self.log)):  # type: ignore[operator]
            raise ValueError("expected low < high, above 0 for a logarithmic range")
        return self

    def holds(self, value: Any) -> bool:
        if self.choices:
            return value in self.choices
        kinds = (int,) if self.kind == "int" else (int, float)
        return type(value) in kinds and self.low <= value <= self.high

    def suggest(self, trial: Any, name: str) -> Any:
        if self.choices:
            return trial.suggest_categorical(name, self.choices)
        suggest = trial.suggest_int if self.kind == "int" else trial.suggest_float
        return suggest(name, self.low, self.high, log=self.log)


@dataclass(frozen=True)
class Search:
    """A search as the user asked for it."""

    model: str
    dataset: str
    ranges: Mapping[str, Range]
    config_file: str | None
    overrides: tuple[Layer, ...]
    data_root: str | None
    device: str | None  # as --device names it
    seed: int
    trials: int
    out: Path
    storage: str | None
    #: Of a cross-validation: folds, the splits that they are made of, seeds a trial, and seeds with
    #: which the best are trained again.
    folds: int | None = None
    pool: tuple[str, ...] = ("train", "valid")
    seeds: int = 1
    fresh: int = 3

    @property
    def search_seeds(self) -> tuple[int, ...]:
        return self._seeds(0, self.seeds)

    @property
    def fresh_seeds(self) -> tuple[int, ...]:
        """None of them is a seed of the search."""
        return self._seeds(self.seeds, self.fresh)

    def _seeds(self, first: int, number: int) -> tuple[int, ...]:
        """Behind ``seed``; behind the largest comes 0."""
        return tuple((self.seed + first + k) % (LARGEST_SEED + 1) for k in range(number))

    @property
    def every_fold(self) -> list[Fold]:
        return [Fold(k, self.folds or 0, self.pool) for k in range(1, (self.folds or 0) + 1)]

    @property
    def metric(self) -> str:
        """By which trials are compared: ``KeyEval``; ``Loss`` is the MAE over clips."""
        name = str(self.config().values["KeyEval"])
        return "MAE" if name == "Loss" else name

    @property
    def sign(self) -> float:
        """What makes lower better."""
        return 1.0 if METRICS[self.metric].better == "lower" else -1.0

    @property
    def in_force(self) -> dict[str, Any] | None:
        """The values that are searched from, by the ranges' names; None where a range lacks its."""
        values = self.config().values
        if all(each.holds(values[name]) for name, each in self.ranges.items()):
            return {name: values[name] for name in self.ranges}
        return None

    def storage_url(self) -> str:
        """Where the trials are: as asked, or in the folder of the results."""
        return self.storage or f"sqlite:///{(self.out / 'trials.db').resolve()}"

    def config(self, *above: Layer) -> settings.ModelConfig:
        """The configuration that is searched from, with values above it.

        Raises:
            ConfigError: a value that the model does not take.
        """
        return settings.load(
            self.model, self.dataset, config_file=self.config_file,
            overrides=(*self.overrides, *above), data_root=self.data_root,
        )  # fmt: skip


def read_ranges(model: str, path: str | None) -> dict[str, Range]:
    """The declared ranges of a model: a file of the user's, or the shipped one.

    Raises:
        UserError: no ranges for this model.
        ConfigError: a range that is none, in one line.
    """
    file = Path(path) if path else plugin_configs() / "tune" / f"{model}.yaml"
    if not path and not file.is_file():
        raise UserError(f"no ranges to search for model '{model}': name a file with --ranges")
    found = {}
    for name, content in read_file(file).items():
        try:
            found[name] = Range.model_validate(content)
        except ValidationError as error:
            message = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise ConfigError(f"{file}: {name} = {shown(content)}: {message}") from None
    return found


def check(wanted: Search) -> None:
    """Before the first trial: names that there are, and values that the model takes.

    Raises:
        ConfigError: a range of something else.
    """
    config = wanted.config()
    for name, each in wanted.ranges.items():
        if name not in config.values:
            raise ConfigError(f"ranges: unknown key {shown(name)}{nearest(name, config.values)}")
        whole = type(config.values[name]) is int
        if each.choices is None and whole and each.kind == "float":
            raise ConfigError(f"ranges: {name} takes whole numbers; expected kind: int")
        for value in each.choices or (each.low, each.high):
            wanted.config(Layer("ranges", {name: value}))
