"""Small files of plain values: what they hold, and what is refused before it can cost anything."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from mmsa_suparc.errors import UserError
from mmsa_suparc.plain_files import parse_yaml, read_mapping, read_text

#: Nine lists of nine of the one before: a billion values in 400 bytes.
BOMB = "a0: &a0 [x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)
HOSTILE = {
    "bomb.yaml": (BOMB, "line 1: an anchor or alias"),
    "itself.yaml": ("a: &a [*a]", "an anchor or alias"),
    "merged.yaml": ("a: &a {x: 1}\nb: {<<: *a}", "an anchor or alias"),
    "tag.yaml": ("a: !!python/object/apply:os.getcwd []", "line 1: a tag"),
    "typed.yaml": ("a: !!int abc", "a tag"),
    "deep.yaml": ("a: " + "[" * 500_000, "more than 30 levels"),
    "deep in lines.yaml": ("\n".join(" " * n + "a:" for n in range(800)), "more than 30 levels"),
    "deep.json": ("[" * 500_000, "more than 30 levels"),
    "deep and whole.json": ('{"a":' + "[" * 100 + "]" * 100 + "}", "more than 30 levels"),
    "many.yaml": ("a: [" + "1," * 200_000 + "]", "more than 10,000 values"),
    "digits.yaml": ("a: " + "9" * 900_000, "more than 3,000 characters"),
    "sixties.yaml": ("a: 1" + ":1" * 400_000, "more than 3,000 characters"),
    "digits.json": ('{"a": ' + "9" * 900_000 + "}", "a number is too long"),
    "date.yaml": ("a: 2024-13-45", "month must be in"),
    "number as key.yaml": ("a: {1: x}", "the key 1 is no text"),
    "yes as key.json.yaml": ("on: x", "the key True is no text"),
    "list as key.yaml": ("? [1]\n: x", "unhashable"),
    "nothing.yaml": ('a: "x\\0y"', "no text"),
    "half a pair.json": ('{"a": "\\ud800"}', "no text"),
    "two documents.yaml": ("a: 1\n---\nb: 2", "but found another document"),
    "control.yaml": ("a: \x01", "not allowed"),
    "large.yaml": ("#" * (1 << 20) + "\na: 1", "larger than 1,048,576 bytes"),
    "list.yaml": ("[1, 2]", "expected 'key: value' lines, found list"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "case"), HOSTILE.items(), ids=list(HOSTILE))
def test_what_could_cost_much_is_refused_at_once(
    name: str, case: tuple[str, str], tmp_path: Path
) -> None:
    text, message = case
    path = tmp_path / name
    path.write_text(text)
    started = time.process_time()
    with pytest.raises(UserError) as error:
        read_mapping(path)
    assert time.process_time() - started < 1.0
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)
    assert len(str(error.value)) < len(str(path)) + 200
    assert "\n" not in str(error.value)


def test_only_a_regular_file_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for path in (tmp_path / "pipe", tmp_path / "link", Path("/dev/zero")):
        with pytest.raises(UserError, match="is no regular file"):
            read_text(path)
    for path, message in (
        (tmp_path, "Is a directory"),
        (tmp_path / "absent", "No such file"),
        (tmp_path / ("x" * 300), "File name too long"),
        (Path("a\0b"), "no name of a file"),
    ):
        with pytest.raises(UserError, match=message):
            read_text(path)
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    with pytest.raises(UserError, match="not UTF-8"):
        read_text(tmp_path / "latin")


def test_plain_values_are_read_as_before(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("\ufeffa: [1, 2.5, yes, null, x y]\nb: {<<: {c: 1}, d: 2024-01-02}\n")
    content = read_mapping(path)
    assert content["a"] == [1, 2.5, True, None, "x y"]
    assert content["b"]["c"] == 1
    path.write_text("# nothing\n")
    assert read_mapping(path) == {}
    assert parse_yaml("[a, 'b']", "--set") == ["a", "b"]
