"""A script with which a shell completes verbs, options, models, data sets and files.

  mmsa completion bash > ~/.local/share/bash-completion/completions/mmsa
  mmsa completion zsh > ~/.zfunc/_mmsa          a folder of $fpath
  mmsa completion fish > ~/.config/fish/completions/mmsa.fish

It holds the models and data sets that are installed when it is written.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from mmsa_suparc.cli import values

SHELLS = ("bash", "zsh", "fish")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS)


def handle(options: argparse.Namespace) -> int:
    import shtab

    from mmsa_suparc import announced
    from mmsa_suparc.cli import whole_parser
    from mmsa_suparc.toolkit import settings

    announced.announce()
    names = {"--model": settings.model_names(), "--dataset": settings.dataset_names()}
    parser = whole_parser()
    for action in _actions(parser):
        if action.type is values.path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        for flag in names.keys() & set(action.option_strings):
            action.choices = names[flag]
    print(shtab.complete(parser, options.shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Every option and argument, of all verbs."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from _actions(inner)
