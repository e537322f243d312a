"""The command ``mmsa``: a verb a file, heavy imports inside the handlers.

A first argument that is no verb means ``run``, so the toolkit's flat form stays:
``mmsa -m suparc -d mosi``.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import io
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from typing import NoReturn

from mmsa_suparc.errors import DiskError, SupArcError, UserError, is_text, nearest, shown
from mmsa_suparc.version import __version__

VERBS = {
    "run": "train and test a model, seed by seed (the default verb)",
    "extract": "turn videos into a feature file",
    "export": "a trained model as ONNX or torch.export",
    "app": "a local page to try a trained model",
    "predict": "score videos or features with a trained model",
    "bench": "compare models by a file: a grid, tables, tests, pictures",
    "tune": "search for better values, on validation only",
    "models": "what runs here, what does not, and why",
    "datasets": "data sets, and whether their feature files are found",
    "config": "the merged configuration and where each value comes from",
    "data": "check a feature file, or make one",
    "doctor": "versions, devices, paths found, and the repairs in force",
    "completion": "a script with which a shell completes all this",
}
#: What ``mmsa bench`` starts for each of its cells.
INTERNAL_VERBS = ("cell",)
#: Verbs of two words that have a parser of their own; the first is a verb as well.
SECOND_WORDS: dict[tuple[str, ...], str] = {("bench", "report"): "bench_report"}
#: ``mmsa help VERB`` is ``mmsa VERB --help``.
HELP_WORD = "help"
#: Taken by every verb, before or after its name.
NO_COLOR_FLAG = "--no-color"
#: Read once, when torch is loaded; what the user says stands. Large pages for its memory on Linux,
#: where the system offers them: a tenth of a training step. And its threads wait for each other by
#: spinning for a tenth of a millisecond, not for several: a core that another program needs is
#: given up (benchmarks/contention.py).
TORCH_VARIABLES = {"THP_MEM_ALLOC_ENABLE": "1", "GOMP_SPINCOUNT": "30000"}
#: A path that no file can have.
PATH_ERRORS = {errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR}
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EACCES}


class Parser(argparse.ArgumentParser):
    """Errors in one line; defaults in the help text."""

    def error(self, message: str) -> NoReturn:
        line = _printable(" ".join(message.split()))
        self.exit(2, _as_error(f"mmsa: {line} (see: {self.prog} --help)") + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        0 done, 1 a defect, 2 bad input or configuration, 3 diverged, 4 disk, 130 interrupted, 143
        ended by SIGTERM.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    arguments = [word for word in given if word != NO_COLOR_FLAG]
    _let_every_character_print()
    set_torch_variables()
    with _colors(wanted=len(arguments) == len(given)), _drawing_to_files():
        return _answer(arguments)


def set_torch_variables() -> None:
    """Before torch is loaded; see :data:`TORCH_VARIABLES`."""
    for name, value in TORCH_VARIABLES.items():
        if name != "GOMP_SPINCOUNT" or "OMP_WAIT_POLICY" not in os.environ:
            os.environ.setdefault(name, value)


def _answer(arguments: list[str]) -> int:
    """Run the command; whatever ends it is told in a line."""
    verbose = _verbosity(arguments)
    try:
        return _dispatch(arguments)
    except SupArcError as error:
        return _report(str(error), error.status, verbose)
    except KeyboardInterrupt:
        return _report("interrupted", 130, 0)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone
        return 141
    except OSError as error:
        # Python's own word for "no folder on this machine can be written to".
        no_folder_writable = "No usable temporary directory" in str(error)
        if error.errno in PATH_ERRORS:
            return _report(f"{shown(error.filename)}: {error.strerror}", UserError.status, verbose)
        if error.errno in DISK_ERRORS or no_folder_writable:
            return _report(
                f"{error.filename or 'disk'}: {error.strerror}", DiskError.status, verbose
            )
        return _report(f"internal error: {type(error).__name__}: {error}", 1, verbose)
    except Exception as error:
        text = str(error).strip().splitlines() or [""]
        hint = "" if verbose >= 2 else " (-v 2 shows the traceback)"
        return _report(f"internal error: {type(error).__name__}: {text[0]}{hint}", 1, verbose)


def _dispatch(arguments: list[str]) -> int:
    if not arguments:
        arguments = ["--help"]
    elif arguments[0] == HELP_WORD:
        arguments = [*arguments[1:], "--help"]
    for word in arguments:
        if not is_text(word):
            raise UserError(f"argument {shown(word)}: expected UTF-8 text")
    words, name = verb_of(arguments)
    module = importlib.import_module(f"mmsa_suparc.cli.{name}")
    parser = Parser(
        prog="mmsa" if name == "run" else " ".join(["mmsa", *words]),
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_options(parser, name)
    handled: int | None = module.handle(parser.parse_args(arguments[len(words) :]))
    return handled or 0


def verb_of(arguments: Sequence[str]) -> tuple[list[str], str]:
    """The words at the front that name a verb, none for ``run``'s flat form, and its module.

    Raises:
        UserError: a word that is none.
    """
    first, *others = arguments
    if (both := (first, *others[:1])) in SECOND_WORDS:
        return list(both), SECOND_WORDS[both]
    if first in (*VERBS, *INTERNAL_VERBS):
        return [first], first
    if not first.startswith("-"):
        raise UserError(f"unknown command {shown(first)}{nearest(first, VERBS)}")
    return [], "run"


def _add_options(parser: argparse.ArgumentParser, verb: str) -> None:
    parser.add_argument("--version", action="version", version=f"mmsa-suparc {__version__}")
    parser.add_argument(
        NO_COLOR_FLAG, action="store_true",
        help="no colours; without it a terminal gets some, unless NO_COLOR is set",
    )  # fmt: skip
    importlib.import_module(f"mmsa_suparc.cli.{verb}").add_arguments(parser)


def whole_parser() -> argparse.ArgumentParser:
    """All verbs in one, and the flat form's options: what a shell completes by."""
    parser = Parser(prog="mmsa", allow_abbrev=False)
    _add_options(parser, "run")
    verbs = parser.add_subparsers(metavar="VERB")
    for verb, about in VERBS.items():
        _add_options(verbs.add_parser(verb, help=about, allow_abbrev=False), verb)
    return parser


def _let_every_character_print() -> None:
    """What a terminal's encoding lacks is written as an escape, as Python does for errors."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _verbosity(arguments: list[str]) -> int:
    for flag in ("-v", "--verbose"):
        if flag in arguments[:-1]:
            value = arguments[arguments.index(flag) + 1]
            return int(value) if value in ("0", "1", "2") else 1
    return 2 if {"-v2", "--verbose=2"} & set(arguments) else 1


def _report(message: str, status: int, verbose: int) -> int:
    if verbose >= 2:
        traceback.print_exc()
    process = os.environ.get("RANK", "0")  # one of several, each of which may fail alone
    name = "mmsa" if process == "0" else f"mmsa, process {process}"
    for line in message.splitlines() or [""]:
        print(_as_error(f"{name}: {_printable(' '.join(line.split()))}"), file=sys.stderr)
    return status


def _colors(*, wanted: bool) -> contextlib.AbstractContextManager[None]:
    """Unless they are wanted, this process and those that it starts use none."""
    return contextlib.nullcontext() if wanted else _variable("NO_COLOR", "1")


def _drawing_to_files() -> contextlib.AbstractContextManager[None]:
    """Whatever a notebook or a user's shell draws with, the command draws to files: matplotlib
    refuses to be imported where the variable names a backend that is not there."""
    return _variable("MPLBACKEND", "agg")


@contextlib.contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    """Within this block an environment variable has this value."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


def _as_error(line: str) -> str:
    """Red on a terminal (no-color.org: unless ``NO_COLOR`` is set to anything)."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return line if plain or not sys.stderr.isatty() else f"\x1b[31m{line}\x1b[0m"


def _printable(line: str) -> str:
    """What could steer a terminal is shown instead."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
