"""The ways a run can end, each with the exit status of the command ``mmsa``.

A message is one line: what was found, what was expected, what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SupArcError(Exception):
    """Base of the errors that the command reports in one line, without a traceback."""

    status = 1


class UserError(SupArcError):
    """Bad input or configuration; nothing was written."""

    status = 2


class InUseError(UserError):
    """Another living process works in the folder."""


class ConfigError(UserError):
    """A configuration value that is unknown, of the wrong type or out of range."""


class DivergedError(SupArcError):
    """Training produced a value that is not finite, or never improved; no result was written."""

    status = 3


class DiskError(SupArcError):
    """A file could not be written or read: full disk, missing permission, I/O failure."""

    status = 4


class StoppedError(SupArcError):
    """The user or the system asked the run to stop (SIGINT, SIGTERM); it can be resumed."""

    status = 130


def shown(value: object, *, most: int = 60) -> str:
    """A value as a message shows it: what is too long is cut."""
    text = repr(value[: 2 * most] if isinstance(value, str) else value)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def is_text(value: str) -> bool:
    """Whether it can be written and be a file's name: half a character, or NUL, can not."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in value


def in_a_line(error: BaseException, *, most: int = 200) -> str:
    """What a library said when it failed, or the name of its error."""
    return " ".join(str(error).split())[:most] or type(error).__name__


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint for an unknown word: ``"; did you mean 'threshold'?"``, or the known words."""
    known = sorted(known)
    close = closest(word, known)
    return close or ("; known: " + ", ".join(known) if known else "")


def closest(word: str, known: Iterable[str], *, count: int = 3) -> str:
    """The hint alone where a known word is like it; nothing otherwise."""
    by_lower_case = {name.lower(): name for name in known}
    matches = difflib.get_close_matches(word[:100].lower(), by_lower_case, n=count, cutoff=0.51)
    close = [by_lower_case[match] for match in matches]
    if not close:
        return ""
    return "; did you mean " + " or ".join(f"'{name}'" for name in close) + "?"
