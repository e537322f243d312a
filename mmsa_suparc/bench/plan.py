"""What a benchmark file asks for: a grid of cells.

A cell is one training: a named variant of a model, on one data set, with one seed, and of a
cross-validation one fold.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, StrictBool, ValidationError

from mmsa_suparc.config import Int, Seed, find_shipped, first_of
from mmsa_suparc.data.fold import MOST_FOLDS, Fold, fold_of, pool_of
from mmsa_suparc.errors import ConfigError, nearest, shown
from mmsa_suparc.names import SPLITS
from mmsa_suparc.plain_files import read_mapping

#: Files of one benchmark, bytes of each, and trainings.
MOST_FILES, LARGEST_FILE, MOST_CELLS = 32, 1 << 16, 10_000
#: What can be measured of a trained model beside its metrics.
PROBES = ("missing", "noise", "geometry")


class Variant(BaseModel):
    """A row of the tables: a model with some of its values changed."""

    model_config = ConfigDict(extra="forbid")

    model: str = ""
    set: dict[str, Any] = Field(default_factory=dict)
    #: A value written as ``key: [a, b, c]`` makes a variant of each.
    sweep: dict[str, list[Any]] = Field(default_factory=dict)


class BenchFile(BaseModel):
    """A benchmark file; see ``plugin_configs/bench/``."""

    model_config = ConfigDict(extra="forbid")

    title: str = ""
    include: list[str] = Field(default_factory=list)
    data_sets: list[str] = Field(default_factory=list)
    seeds: list[Seed] = Field(default_factory=list)
    shared: dict[str, Any] = Field(default_factory=dict)
    variants: dict[str, Variant] = Field(default_factory=dict)
    #: Every model that runs on the data set, under its own name.
    all_models: StrictBool = False
    #: The variant with which the others are compared.
    reference: str = ""
    probes: list[str] = Field(default_factory=list)
    #: Cross-validation by groups: so many folds, of these splits of the feature file.
    folds: Annotated[Int, Field(ge=2, le=MOST_FOLDS)] | None = None
    pool: list[str] | None = None
    #: Whether a cell's weights stay when it is finished: a hundred MB each and more.
    keep_models: StrictBool = True
    _path: Path | None = PrivateAttr(None)

    @property
    def called(self) -> str:
        """What an error names it by: its file, else its title."""
        if self._path is not None:
            return str(self._path)
        return f"benchmark {shown(self.title)}" if self.title else "benchmark"


@dataclass(frozen=True)
class Cell:
    """One training."""

    variant: str
    model: str
    dataset: str
    seed: int
    values: Mapping[str, Any]  # above the model's defaults

    @property
    def fold(self) -> Fold | None:
        """Its part of a cross-validation; None where it has the file's splits."""
        return fold_of(self.values)

    @property
    def name(self) -> str:
        fold = f", fold {self.fold.number} of {self.fold.of}" if self.fold else ""
        return f"{self.variant} on {self.dataset}, seed {self.seed}{fold}"


@dataclass(frozen=True)
class Plan:
    """The cells of a benchmark, and what to make of them."""

    title: str
    cells: tuple[Cell, ...]
    reference: str
    probes: tuple[str, ...]
    #: Of a cross-validation, how many, and the splits that they are made of.
    folds: int | None = None
    pool: tuple[str, ...] = ()

    @property
    def variants(self) -> list[str]:
        """In the order of the file."""
        return list(dict.fromkeys(cell.variant for cell in self.cells))

    @property
    def datasets(self) -> list[str]:
        return list(dict.fromkeys(cell.dataset for cell in self.cells))

    @property
    def seeds(self) -> list[int]:
        return list(dict.fromkeys(cell.seed for cell in self.cells))

    def seeds_of(self, dataset: str, variant: str) -> list[int]:
        """The seeds that were asked for; none where the variant is not for the data set."""
        cells = (c for c in self.cells if (c.dataset, c.variant) == (dataset, variant))
        return list(dict.fromkeys(cell.seed for cell in cells))


def find_file(name: str) -> Path:
    """A benchmark file by path, or one that comes with the package by name.

    Raises:
        UserError: neither.
    """
    return find_shipped("benchmark", "bench", name)


def read(path: Path, *, named: bool = True) -> BenchFile:
    """A benchmark file with its includes merged below it.

    Args:
        path: of the file.
        named: whether later errors name it; not where a file only stands in for a mapping.

    Raises:
        ConfigError: an unknown key or a wrong type, a circle of includes, or too much of them, in
            one line.
    """
    file = _validated(path, _Includes().merged(path, ()))
    file._path = path if named else None
    return file


class _Includes:
    """A file and what it includes, each read once."""

    def __init__(self) -> None:
        self._started = 0
        self._read: dict[Path, dict[str, Any]] = {}

    def merged(self, path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
        """The content of a file above that of its includes.

        Args:
            path: as the one above names it.
            above: the files through which it is included.
        """
        place = path.resolve()  # one file has many names
        if place in above:
            raise ConfigError(f"{path}: includes itself")
        if place not in self._read:
            content = self._content(path)
            result: dict[str, Any] = {}
            for name in content.pop("include", []):
                below = path.parent / name
                if not below.exists():
                    raise ConfigError(f"{path}: include: no file {below}")
                result = _merged(result, self.merged(below, (*above, place)))
            self._read[place] = _merged(result, content)
        return self._read[place]

    def _content(self, path: Path) -> dict[str, Any]:
        self._started += 1
        if self._started > MOST_FILES:
            raise ConfigError(f"{path}: more than {MOST_FILES} files include each other")
        content = read_mapping(path, largest=LARGEST_FILE)
        _validated(path, content)
        return content


def _merged(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings are merged, probes added up, everything else replaced."""
    result = dict(below)
    for key, value in above.items():
        if isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = {**result[key], **value}
        elif key == "probes":
            result[key] = list(dict.fromkeys([*result.get(key, []), *value]))
        else:
            result[key] = value
    return result


def _validated(path: Path, content: Mapping[str, Any]) -> BenchFile:
    known = BenchFile.model_fields
    for key in content:
        if key not in known:
            raise ConfigError(f"{path}: unknown key {shown(key)}{nearest(key, known)}")
    try:
        file = BenchFile.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{path}: {first_of(error, with_value=True)}") from None
    for probe in file.probes:
        if probe not in PROBES:
            raise ConfigError(f"{path}: probes: unknown {shown(probe)}{nearest(probe, PROBES)}")
    if file.pool is not None:
        pool_of(file.pool, str(path))
    return file


def make_plan(
    file: BenchFile,
    *,
    models_for: Mapping[str, list[str]] | None = None,
    data_sets: list[str] | None = None,
    seeds: list[int] | None = None,
    shared: Mapping[str, Any] | None = None,
    only: list[str] | None = None,
    folds: int | None = None,
    pool: list[str] | None = None,
) -> Plan:
    """The cells of a file.

    Args:
        models_for: by data set, the models that ``all_models`` means.
        data_sets: instead of the file's.
        seeds: likewise.
        shared: values above the file's shared ones, for every cell.
        only: the variants to take, in the file's order; all by default.
        folds: of a cross-validation, instead of the file's.
        pool: the splits that these are made of, likewise.

    Raises:
        ConfigError: nothing to run, or an unknown variant.
    """
    datasets = data_sets or file.data_sets
    for name, given in (("seed", seeds or file.seeds), ("data set", datasets)):
        twice = [one for one, times in Counter(given).items() if times > 1]
        if twice:
            raise ConfigError(f"{file.called}: {name} {shown(twice[0])} twice")
    parts = _folds(file, {**file.shared, **(shared or {})}, folds, pool)
    asked = (
        len(seeds or file.seeds)
        * len(parts)
        * sum(_rows(file, (models_for or {}).get(dataset, [])) for dataset in datasets)
    )
    if asked > MOST_CELLS:
        raise ConfigError(f"{file.called}: {asked:,} trainings; at most {MOST_CELLS:,}")
    cells = [
        Cell(variant, model, dataset, seed, {**file.shared, **(shared or {}), **values, **part})
        for dataset in datasets
        for variant, model, values in _variants(file, (models_for or {}).get(dataset, []))
        for seed in seeds or file.seeds
        for part in parts
    ]
    if not cells:
        raise ConfigError(f"{file.called}: {_nothing(file, datasets, seeds)}")
    names = {cell.variant for cell in cells}
    for name in only or ():
        if name not in names:
            raise ConfigError(f"{file.called}: no variant {shown(name)}{nearest(name, names)}")
    cells = [cell for cell in cells if not only or cell.variant in only]
    names = {cell.variant for cell in cells}
    reference = file.reference or cells[0].variant
    if only and reference not in names:
        reference = cells[0].variant
    if reference not in names:
        raise ConfigError(
            f"{file.called}: reference {shown(reference)} is no variant{nearest(reference, names)}"
        )
    fold = fold_of(parts[0])
    made = (fold.of, fold.pool) if fold else (None, ())
    return Plan(file.title, tuple(cells), reference, tuple(file.probes), *made)


def _folds(
    file: BenchFile, shared: Mapping[str, Any], folds: int | None, pool: list[str] | None
) -> list[dict[str, Any]]:
    """What each fold adds to a cell's values; of no cross-validation one that adds nothing."""
    count, splits = folds or file.folds, pool or file.pool
    if count is None:
        if splits:
            raise ConfigError(f"{file.called}: pool: needs folds")
        return [{}]
    said = [shared, *(variant.set for variant in file.variants.values())]
    said += [variant.sweep for variant in file.variants.values()]
    for key in ("fold", "pool"):
        if any(key in values for values in said):
            raise ConfigError(f"{file.called}: {key} among the values; folds sets it")
    chosen = pool_of(splits or SPLITS, file.called)
    return [Fold(number, count, chosen).values for number in range(1, count + 1)]


def _nothing(file: BenchFile, datasets: list[str], seeds: list[int] | None) -> str:
    """Why there is nothing to run, and what to write."""
    if not datasets:
        return "names no data set; expected data_sets: [demo], or -d NAME"
    if not seeds and not file.seeds:
        return "names no seed; expected seeds: [1111], or -s N"
    if file.variants:
        return "a sweep without values leaves no variant; expected one value at least"
    return "names no variant; expected variants: {suparc: {}}, or all_models: true"


def _rows(file: BenchFile, models: list[str]) -> int:
    """How many rows a data set has, counted without making them."""
    points = [math.prod(map(len, variant.sweep.values())) for variant in file.variants.values()]
    return sum(points) + (len(models) if file.all_models else 0)


def _variants(file: BenchFile, models: list[str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(name, model, values) of every row."""
    for name, variant in file.variants.items():
        points: list[dict[str, Any]] = [{}]
        for key, choices in variant.sweep.items():
            points = [{**point, key: choice} for point in points for choice in choices]
        for point in points:
            label = ", ".join([name, *(f"{key}={value}" for key, value in point.items())])
            yield label, variant.model or name, {**variant.set, **point}
    if file.all_models:
        named = {variant.model or name for name, variant in file.variants.items()}
        yield from ((model, model, {}) for model in models if model not in named)
