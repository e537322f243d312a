"""Pages that are made of the program itself: names, keys, commands, the root's files."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args

import yaml
from mkdocs.structure.files import File, Files
from pydantic.fields import FieldInfo

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import mmsa_suparc  # noqa: E402
from mmsa_suparc import serving  # noqa: E402
from mmsa_suparc.cli import SECOND_WORDS, VERBS, Parser  # noqa: E402
from mmsa_suparc.config import SupArcConfig  # noqa: E402

#: What a type of ``config.py`` counts.
UNITS = {"Clips": "clips", "Epochs": "epochs", "Units": "units", "Share": "share"}

LONGEST_TITLE = 30


def on_files(files: Files, config: Any) -> Files:
    """Put the pages among those of ``docs/``."""
    pages: dict[str, Callable[[], str]] = {
        "reference/python.md": python_page,
        "reference/configuration.md": configuration_page,
        "reference/commands.md": commands_page,
        "project/changes.md": lambda: root_file("CHANGELOG.md"),
        "project/contributing.md": lambda: root_file("CONTRIBUTING.md"),
        "project/security.md": lambda: root_file("SECURITY.md"),
    }
    for path, make in pages.items():
        files.append(File.generated(config, path, content=make()))
    return files


def root_file(name: str) -> str:
    """A file of the repository's root, its links seen from ``project/``."""
    text = (ROOT / name).read_text()
    return re.sub(r"\]\((?![a-z]+:|#)([^)]+)\)", r"](../../\1)", text)


# Python


def python_page() -> str:
    """Every public name, by where it is defined."""
    groups = {
        "The package": [
            f"mmsa_suparc.{name}"
            for name in ("register", "unregister", "register_model", "unregister_model")
        ],
        "Runs and benchmarks": [
            "mmsa_suparc.api.running.run",
            "mmsa_suparc.api.comparing.compare",
            *(
                f"{mmsa_suparc._LAZY[name]}.{name}"
                for name in ("load_run", "RunResult", "load_bench", "BenchResult")
            ),
        ],
        "Network and configuration": [
            "mmsa_suparc.model.suparc.SupArc",
            *(f"mmsa_suparc.model.encoders.{name}" for name in ("TextEncoder", "SequenceEncoder")),
            "mmsa_suparc.config.SupArcConfig",
            "mmsa_suparc.runs.trainer.SupArcTrainer",
        ],
        "Asking a trained model": [f"{module}.{name}" for name, module in serving._LAZY.items()],
        "What a model and a trainer offer": [
            f"mmsa_suparc.toolkit.registry.{name}" for name in ("Model", "Trainer", "AbleTrainer")
        ],
        "Feature files": ["mmsa_suparc.data.reader.read", "mmsa_suparc.data.demo.make_demo"],
        "Metrics": [f"mmsa_suparc.metrics.{name}" for name in ("mosi_metrics", "sims_metrics")],
        "Errors": ["mmsa_suparc.errors"],
    }
    lines = ["# Python", "", "The losses have [a page of their own](losses.md).", "",
             "`mmsa_suparc.bench(…)` is the function `compare` below. Predictors are in",
             "`mmsa_suparc.serving`.", ""]  # fmt: skip
    for title, names in groups.items():
        lines += [f"## {title}", "", *(f"::: {name}\n" for name in names)]
    return "\n".join(lines)


# Configuration


class Entry(NamedTuple):
    """A line of ``suparc.yaml``: its value and the comment beside it."""

    value: str
    comment: str


def configuration_page() -> str:
    """Every key of the schema, with what ``suparc.yaml`` says about it."""
    text = (ROOT / "plugin_configs" / "suparc.yaml").read_text()
    shared, rest = text.split("\ndatasets:\n")
    lines = [
        "# Configuration",
        "",
        "Made of the schema (`mmsa_suparc/config.py`) and of `plugin_configs/suparc.yaml`.",
        "Defaults < shared < data set < `-c` file < `--set` and flags;",
        "`mmsa config show -m suparc -d mosi` prints the values in force and their sources.",
        "",
    ]
    absent = dict.fromkeys(SupArcConfig.model_fields)
    for title, words, block in groups(shared.split("\nshared:\n")[1]):
        shipped = dict(entries(block, indent=2))
        lines += [f"## {title}", "", words, "", *keys_table(shipped)]
        for key in shipped:
            absent.pop(key)
    if absent:
        lines += ["## Not in the file", "", *keys_table({key: Entry("", "") for key in absent})]
    lines += ["", "## What each data set changes", ""]
    datasets, tune = rest.split("\ntune:\n")
    names = yaml.safe_load("datasets:\n" + datasets)["datasets"]
    lines += ["| data set | key | value | reason or source |", "|---|---|---|---|"]
    for name in names:
        block = datasets.split(f"  {name}:\n", 1)[1]
        block = re.split(r"^  \w+:$", block, maxsplit=1, flags=re.MULTILINE)[0]
        for key, entry in entries(block, indent=4):
            lines.append(f"| `{name}` | `{key}` | `{entry.value}` | {entry.comment} |")
    lines += ["", "## What the toolkit's random search draws from", "", "```yaml", tune.rstrip()]
    return "\n".join([*lines, "```", ""])


def groups(block: str) -> Iterator[tuple[str, str, str]]:
    """Parts of the file: a title, what its first comment says, and its lines."""
    for part in block.split("\n\n"):
        comment = re.match(r"(?:  #.*\n)*", part)
        assert comment is not None
        said = " ".join(line.strip("# ") for line in comment[0].splitlines())
        title, _, words = said.partition(". ")
        if len(title) > LONGEST_TITLE:
            title, words = re.findall(r"^  (\w+):", part, re.MULTILINE)[0], said
        yield title.rstrip(".:") or "Text encoder", words, part


def keys_table(shipped: dict[str, Entry]) -> list[str]:
    """A row a key."""
    lines = [
        "| key | type | default | unit | what it is | reason or source |",
        "|---|---|---|---|---|---|",
    ]
    for key, entry in shipped.items():
        field = SupArcConfig.model_fields[key]
        annotation = str(SupArcConfig.__annotations__[key])
        cells = (
            f"`{key}`", kind(field), f"`{entry.value or field.default}`",
            unit(annotation, field, entry), field.description or "", entry.comment,
        )  # fmt: skip
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return [*lines, ""]


def entries(block: str, indent: int) -> Iterator[tuple[str, Entry]]:
    """``key: value  # comment`` lines; a comment goes on in lines that hold nothing else."""
    found: dict[str, Entry] = {}
    last = ""
    for line in block.splitlines():
        if match := re.match(rf"^ {{{indent}}}(\w+):\s*([^#]*?)\s*(?:#\s*(.*))?$", line):
            last = match[1]
            found[last] = Entry(match[2], match[3] or "")
        elif last and (more := re.match(rf"^ {{{indent + 8},}}#\s*(.*)$", line)):
            found[last] = Entry(found[last].value, f"{found[last].comment} {more[1]}")
        else:
            last = ""
    yield from found.items()


def kind(field: FieldInfo) -> str:
    """The type in words, with its range."""
    annotation = field.annotation
    words = get_args(annotation)
    if words and all(isinstance(word, str) for word in words):
        return " or ".join(f"`{word}`" for word in words)
    if words and annotation is not None and "list" in str(annotation):
        return "list of " + ", ".join(f"`{word}`" for word in get_args(words[0]))
    plain = {"int": "whole number", "float": "number", "bool": "true or false", "str": "text"}
    name = getattr(annotation, "__name__", "")
    if name not in plain:
        return "`auto` or a whole number"
    bounds = []
    for sign, word in (("ge", "≥"), ("gt", ">"), ("lt", "<"), ("le", "≤")):
        for constraint in field.metadata:
            value = getattr(constraint, sign, None)
            if value is not None and value < 1e38:
                bounds.append(f"{word} {value:,}")
    return ", ".join([plain[name], *bounds])


def unit(annotation: str, field: FieldInfo, entry: Entry) -> str:
    """From the type's name, or from the words that speak of a unit."""
    said = f"{entry.comment} {field.description or ''}"
    for words in ("radians per score unit", "score units", "units of cosine"):
        if words in said:
            return words
    return UNITS.get(annotation, "")


# Commands


def commands_page() -> str:
    """The help of every verb and of what stands below it."""
    os.environ["COLUMNS"] = "96"
    lines = ["# Commands", "", "What `mmsa VERB --help` prints.", ""]
    for verb, words in VERBS.items():
        name = "mmsa" if verb == "run" else f"mmsa {verb}"
        title = "mmsa (run)" if verb == "run" else name
        parser = parser_of(verb, name)
        lines += [f"## {title}", "", f"{words[0].upper()}{words[1:]}.", "", *fenced(parser)]
        for below in below_of(parser):
            lines += [f"### {below.prog}", "", *fenced(below)]
        for second, name in SECOND_WORDS.items():
            if second[0] == verb:
                below = parser_of(name, " ".join(["mmsa", *second]))
                lines += [f"### {below.prog}", "", *fenced(below)]
    return "\n".join(lines)


def parser_of(module_name: str, prog: str) -> Parser:
    """The parser of a file of ``cli/``."""
    module = importlib.import_module(f"mmsa_suparc.cli.{module_name}")
    parser = Parser(
        prog=prog,
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    return parser


def below_of(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """The parsers of a verb's actions."""
    return [
        below
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for below in action.choices.values()
    ]


def fenced(parser: argparse.ArgumentParser) -> list[str]:
    """A parser's help as a block of text."""
    return ["```text", parser.format_help().rstrip(), "```", ""]
