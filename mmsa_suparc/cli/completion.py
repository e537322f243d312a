"""A script with which a shell completes verbs, options, models, data sets and files.

  mmsa completion bash > ~/.local/share/bash-completion/completions/mmsa
  mmsa completion zsh > ~/.zfunc/_mmsa          a folder of $fpath
  mmsa completion fish > ~/.config/fish/completions/mmsa.fish

It holds the models and data sets that are installed when it is written.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmsa_suparc.cli import values

SHELLS = ("bash", "zsh", "fish")
#: What a shell calls where a word or a file may stand, and the function that it calls.
CALLED = {
    "bash": "_mmsa_{verb}",
    "zsh": "_mmsa_{verb}",
    "fish": "{words} (__fish_complete_path (commandline -ct))",
}
FUNCTIONS = {
    "bash": """_mmsa_{verb}() {{ compgen -f -W "{words}" -- "$1"; }}""",
    "zsh": """_mmsa_{verb}() {{ _alternative "words:word:({words})" "files:file:_files"; }}""",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS)


def handle(options: argparse.Namespace) -> int:
    import shtab

    from mmsa_suparc import announced
    from mmsa_suparc.cli import whole_parser
    from mmsa_suparc.config import shipped_files
    from mmsa_suparc.toolkit import settings

    announced.announce()
    names = {"--model": settings.model_names(), "--dataset": settings.dataset_names()}
    parser = whole_parser()
    _take_second_words(parser, {"bench": list(shipped_files("bench"))})
    for action in _actions(parser):
        if action.type is values.path and not hasattr(action, "complete"):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        for flag in names.keys() & set(action.option_strings):
            action.choices = names[flag]
    print(shtab.complete(parser, options.shell))
    return 0


def _take_second_words(parser: argparse.ArgumentParser, names: Mapping[str, Sequence[str]]) -> None:
    """Let a verb with a second word offer it, and the names that may stand there, beside files; and
    take what only the second word's parser takes.

    Args:
        parser: of all verbs.
        names: by verb.
    """
    from mmsa_suparc.cli import SECOND_WORDS, Parser

    for (first, second), module in SECOND_WORDS.items():
        verb, below = _verbs(parser)[first], Parser(add_help=False)
        word: Any = next(one for one in verb._actions if not one.option_strings)
        word.complete = _words_or_files(first, [second, *names.get(first, ())])
        importlib.import_module(f"mmsa_suparc.cli.{module}").add_arguments(below)
        known = {flag for one in verb._actions for flag in one.option_strings}
        for action in below._actions:
            if not known & set(action.option_strings):
                verb._add_action(action)


def _words_or_files(verb: str, words: Sequence[str]) -> dict[str, Any]:
    """As shtab takes it, of each shell."""
    fill = {"verb": verb, "words": " ".join(words)}
    said: dict[str, Any] = {shell: call.format(**fill) for shell, call in CALLED.items()}
    said["preamble"] = {shell: made.format(**fill) for shell, made in FUNCTIONS.items()}
    return said


def _verbs(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    (found,) = (one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    verbs: Mapping[str, argparse.ArgumentParser] = found.choices
    return verbs


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Every option and argument, of all verbs."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from _actions(inner)
