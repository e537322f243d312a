"""Fifty-seven hostile benchmark files, by tables."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.hostile_options import BOMB

GOOD = {
    "title": "T",
    "data_sets": ["demo"],
    "seeds": [1],
    "variants": {"ours": {"model": "suparc"}},
}


def _with(**changes: object) -> str:
    """The good file with some of it changed, as YAML in its JSON form."""
    return json.dumps({**GOOD, **changes})


def _sweep(*lengths: int, model: str = "suparc") -> dict[str, object]:
    """Variants with a sweep of so many values of each of so many keys."""
    sweep = {f"key{place}": list(range(length)) for place, length in enumerate(lengths)}
    return {"ours": {"model": model, "sweep": sweep}}


#: Texts of a benchmark file, and a word of the refusal.
TEXTS: dict[str, tuple[str, str]] = {
    # wrong types, at every place
    "a list": ("[1, 2]", "found list"),
    "a word": ("quick", "found str"),
    "a number as the title": (_with(title=3), "title = 3"),
    "a word as seeds": (_with(seeds="1"), "seeds = '1'"),
    "a mapping as seeds": (_with(seeds={"1": 1}), "seeds"),
    "a word as data sets": (_with(data_sets="demo"), "data_sets = 'demo'"),
    "a number as a data set": (_with(data_sets=[1]), "data_sets.0 = 1"),
    "a list as shared": (_with(shared=[1]), "shared = [1]"),
    "a word as shared": (_with(shared="epochs"), "shared = 'epochs'"),
    "a list as variants": (_with(variants=["suparc"]), "variants"),
    "a word as a variant": (_with(variants={"ours": "suparc"}), "variants.ours = 'suparc'"),
    "nothing as a variant": (_with(variants={"ours": None}), "variants.ours = None"),
    "a number as a model": (_with(variants={"ours": {"model": 1}}), "variants.ours.model = 1"),
    "a list as set": (_with(variants={"ours": {"set": [1]}}), "variants.ours.set = [1]"),
    "a number as sweep": (_with(variants={"ours": {"sweep": 1}}), "variants.ours.sweep = 1"),
    "a number as swept": (_with(variants={"ours": {"sweep": {"margin": 1}}}), "sweep.margin = 1"),
    "a word as all_models": (_with(all_models="yes"), "all_models = 'yes'"),
    "a word as keep_models": (_with(keep_models="no"), "keep_models = 'no'"),
    "a list as the reference": (_with(reference=["ours"]), "reference"),
    "a mapping as probes": (_with(probes={"noise": 1}), "probes"),
    "a list as a probe": (_with(probes=[["noise"]]), "probes.0"),
    "a word as include": (_with(include="a.yaml"), "include = 'a.yaml'"),
    "a number as include": (_with(include=[1]), "include.0 = 1"),
    "a number as a variant's name": ("variants: {1: {model: suparc}}", "key 1"),
    "an unknown key": (_with(seed=[1]), "did you mean 'seeds'"),
    # numbers
    "a seed below 0": (_with(seeds=[-1]), "seeds.0 = -1"),
    "a seed of 2^40": (_with(seeds=[2**40]), "2147483647"),
    "true as a seed": (_with(seeds=[True]), "true or false"),
    "half a seed": (_with(seeds=[1.5]), "seeds.0 = 1.5"),
    "infinity as a seed": ("seeds: [.inf]", "seeds.0 = inf"),
    "a seed of 2,000 digits": (_with(seeds=[10**2_000]), "seeds.0"),
    "a seed twice": (_with(seeds=[1, 2, 1]), "seed 1 twice"),
    "five thousand data sets": (_with(data_sets=[f"d{n}" for n in range(5_000)]), "unknown data"),
    # too much
    "a sweep of 10^9 points": (_with(variants=_sweep(1_000, 1_000, 1_000)), "1,000,000,000"),
    "a sweep of 10^60 points": (_with(variants=_sweep(*[10] * 60)), "trainings"),
    "seeds times a sweep": (_with(seeds=list(range(200)), variants=_sweep(100)), "20,000"),
    "values beyond all bounds": (_with(shared={"batch_size": 10**20}), "batch_size"),
    "a layer beyond all bounds": (
        _with(variants={"ours": {"model": "suparc", "set": {"lstm_layers": 10**5}}}), "lstm_layers",
    ),
    "a billion values": (BOMB, "anchor or alias"),
    "a file in itself": ("shared: &a {x: *a}", "anchor or alias"),
    "a tag": ("title: !!python/object/apply:os.getpid []", "tag"),
    "half a million brackets": ("title: " + "[" * 60_000, "levels"),
    "twenty thousand values": ("seeds: [" + "1, " * 20_000 + "1]", "values"),
    "100 KiB of comments": ("# \n" * 34_000, "larger than"),
    "NUL": ('title: "a\\0"', "no text"),
    "nothing": ("", "no data set"),
    "a data set that is a path": (_with(data_sets=["../../etc"]), "unknown data set"),
}  # fmt: skip


def _itself_by_another_name(folder: Path) -> None:
    (folder / "below").mkdir()
    (folder / "mine.yaml").write_text("include: [below/../mine.yaml]")


def _circle_through_a_link(folder: Path) -> None:
    (folder / "link").symlink_to(".")
    (folder / "mine.yaml").write_text("include: [link/b.yaml]")
    (folder / "b.yaml").write_text("include: [link/link/link/mine.yaml]")


def _circle_of_three(folder: Path) -> None:
    for here, there in (("mine", "x/../b"), ("b", "x/../c"), ("c", "x/../mine")):
        (folder / f"{here}.yaml").write_text(f"include: [{there}.yaml]")
    (folder / "x").mkdir()


def _each_includes_the_next_twice(folder: Path) -> None:
    for number in range(24):
        name = "mine" if number == 0 else str(number)
        below = f"{number + 1}.yaml"
        (folder / f"{name}.yaml").write_text(f"include: [{below}, {below}]")
    (folder / "24.yaml").write_text(_with(seeds=[-1]))


def _a_chain_of_thousands(folder: Path) -> None:
    (folder / "mine.yaml").write_text("include: [1.yaml]")
    for number in range(1, 2_000):
        (folder / f"{number}.yaml").write_text(f"include: [{number + 1}.yaml]")


def _a_long_name(folder: Path) -> None:
    (folder / "mine.yaml").write_text(f"include: [{'x' * 300}.yaml]")


def _a_pipe(folder: Path) -> None:
    os.mkfifo(folder / "mine.yaml")


def _a_pipe_below(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "mine.yaml").write_text("include: [pipe]")


def _a_device(folder: Path) -> None:
    (folder / "mine.yaml").symlink_to("/dev/zero")


def _ten_gibibytes(folder: Path) -> None:
    with (folder / "mine.yaml").open("wb") as file:
        file.truncate(10 << 30)


#: What makes the files, and a word of the refusal.
FILES: dict[Callable[[Path], None], str] = {
    _itself_by_another_name: "includes itself",
    _circle_through_a_link: "includes itself",
    _circle_of_three: "includes itself",
    _each_includes_the_next_twice: "24.yaml: seeds.0 = -1",
    _a_chain_of_thousands: "more than 32 files",
    _a_long_name: "File name too long",
    _a_pipe: "no regular file",
    _a_pipe_below: "no regular file",
    _a_device: "no regular file",
    _ten_gibibytes: "larger than",
}


@dataclass(frozen=True)
class Case:
    """One hostile benchmark."""

    name: str
    word: str  # that the line holds
    prepare: Callable[[Path], object]  # makes mine.yaml, and what it needs, in a folder


def cases() -> Iterator[Case]:
    """All of them."""
    for name, (text, word) in TEXTS.items():
        yield Case(name, word, lambda folder, text=text: (folder / "mine.yaml").write_text(text))
    for prepare, word in FILES.items():
        yield Case(prepare.__name__.strip("_").replace("_", " "), word, prepare)
