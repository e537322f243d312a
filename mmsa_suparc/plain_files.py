"""YAML and JSON that anyone may have written, read as plain values.

Only a regular file of a bounded size is read, so neither a pipe nor a device can hold the program
up. YAML has neither aliases, by which a few lines can stand for billions of values, nor tags; no
text holds what no file name, message or other file could.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import yaml

from mmsa_suparc.errors import UserError, is_text

#: Bytes of a file, values of a YAML text, levels of lists and mappings in each other.
LARGEST, MOST_VALUES, DEEPEST = 1 << 20, 10_000, 30
#: Characters of one YAML value: a longer one that looks like a number takes long to become one.
LONGEST = 3_000
#: libyaml's parser where PyYAML was built with it: ten times as fast, and the same values.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_bytes(path: Path, *, largest: int = LARGEST) -> bytes:
    """The content of a small file.

    Args:
        path: of the file.
        largest: bytes that it may have.

    Raises:
        UserError: absent, no regular file, or too large.
    """
    try:
        # Opening a pipe that nobody writes to would wait for ever without O_NONBLOCK.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as f:
            if not stat.S_ISREG(os.fstat(f.fileno()).st_mode):
                raise UserError(f"{path}: is no regular file; expected one, not a pipe or device")
            content = f.read(largest + 1)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None
    except ValueError:
        raise UserError(f"{str(path)!r}: no name of a file") from None
    if len(content) > largest:
        raise UserError(f"{path}: larger than {largest:,} bytes; expected a small file")
    return content


def read_text(path: Path, *, largest: int = LARGEST) -> str:
    """The text of a small file; see :func:`read_bytes`.

    Raises:
        UserError: likewise, or not UTF-8 text.
    """
    try:
        return read_bytes(path, largest=largest).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text") from None


def refuse_irregular(path: Path, *, largest: int) -> None:
    """Before a file is opened by others: it is a regular one, and not too large.

    Raises:
        UserError: names it.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None
    if not stat.S_ISREG(found.st_mode):
        raise UserError(f"{path}: is no regular file; expected one, not a folder, pipe or device")
    if found.st_size > largest:
        raise UserError(f"{path}: {found.st_size:,} bytes; expected at most {largest:,}")


def read_values(path: Path, *, largest: int = LARGEST) -> Any:
    """What a small YAML file holds, or a JSON file, by its suffix.

    Raises:
        UserError: unreadable: one line that names the file and, where there is one, the line.
    """
    text = read_text(path, largest=largest)
    return (parse_json if path.suffix == ".json" else parse_yaml)(text, str(path))


def read_mapping(path: Path, *, largest: int = LARGEST) -> dict[str, Any]:
    """The same of a file that holds ``key: value`` lines; nothing in it is an empty mapping."""
    content = read_values(path, largest=largest)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected 'key: value' lines, found {type(content).__name__}")
    return content


def parse_json(text: str, source: str) -> Any:
    """The values of a JSON text.

    Raises:
        UserError: one line that begins with ``source``.
    """
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{source}, line {error.lineno}: {error.msg}") from None
    except RecursionError:
        raise UserError(f"{source}: {_TOO_DEEP}") from None
    except ValueError:  # thousands of digits
        raise UserError(f"{source}: a number is too long") from None
    _refuse_unusable(content, source)
    return content


def parse_yaml(text: str, source: str) -> Any:
    """The values of a YAML text of one document.

    Raises:
        UserError: one line that begins with ``source``.
    """
    try:
        _refuse_costly(text, source)
        content = _LOADER(text).get_single_data()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or getattr(error, "reason", None) or error
        raise UserError(f"{source}{place}: {what}") from None
    except ValueError as error:  # looks like a date or a number, and is none
        raise UserError(f"{source}: {error}") from None
    _refuse_unusable(content, source)
    return content


_TOO_DEEP = f"more than {DEEPEST} levels of lists and mappings"


def _refuse_costly(text: str, source: str) -> None:
    """Look through the text, event by event, for what could cost much to build."""
    count = depth = 0
    event: Any
    for event in yaml.parse(text, _LOADER):
        place = f"{source}, line {event.start_mark.line + 1}"
        count += isinstance(event, yaml.NodeEvent)
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise UserError(f"{place}: an anchor or alias (& or *); write the value out")
        if getattr(event, "tag", None):
            raise UserError(f"{place}: a tag ({event.tag}); expected plain values")
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > LONGEST:
            raise UserError(f"{place}: a value of more than {LONGEST:,} characters")
        if depth > DEEPEST:
            raise UserError(f"{place}: {_TOO_DEEP}")
        if count > MOST_VALUES:
            raise UserError(f"{place}: more than {MOST_VALUES:,} values")


def _refuse_unusable(value: Any, source: str, depth: int = 0) -> None:
    """Keys that are no text, and text that no file name or other file could hold."""
    if depth > DEEPEST:
        raise UserError(f"{source}: {_TOO_DEEP}")
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise UserError(f"{source}: the key {key!r} is no text; put it in quotes")
            _refuse_unusable(key, source, depth)
    if isinstance(value, (dict, list)):
        for each in value.values() if isinstance(value, dict) else value:
            _refuse_unusable(each, source, depth + 1)
    if isinstance(value, str) and not is_text(value):
        raise UserError(f"{source}: {value[:40]!r} holds a character that is no text")
