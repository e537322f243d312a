"""The text encoder's folder of a trained model: built from plain values, never trusted.

It may come from a stranger. Code that it names is not run, nothing is fetched from elsewhere, and
its configuration is held against the tensors of the weights before anything is built of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmsa_suparc.data import text
from mmsa_suparc.errors import UserError
from mmsa_suparc.plain_files import read_mapping, refuse_irregular

Shapes = Mapping[str, tuple[int, ...]]
#: Bytes of a file of the folder, and files in it.
LARGEST, MOST_FILES = 64 << 20, 50
#: A number of a configuration that says how often something is built.
REPEATS = re.compile(r"layer|block|depth|stage|expert|group")
#: What any other number may be where no tensor is as long.
LARGEST_NUMBER = 1 << 18


def transformer_of(folder: Path, shapes: Shapes) -> Any:
    """The encoder that a folder's ``config.json`` describes, with random weights.

    Args:
        folder: with ``config.json``.
        shapes: of the tensors that it will be given, and of others.

    Raises:
        UserError: no such encoder, or one that the tensors cannot be of.
    """
    from transformers import AutoModel

    file = folder / "config.json"
    _refuse_costly(file, read_mapping(file), shapes)
    config = text.encoder_config(str(folder))
    with text.loading(folder):
        return AutoModel.from_config(config, trust_remote_code=False)


def tokenizer_of(folder: Path, *, tokens: int, vocabulary: int) -> Any:
    """The tokenizer of a folder.

    Args:
        folder: with the tokenizer's files.
        tokens: that it has to be able to bring a text to.
        vocabulary: of the encoder. (Without its files a tokenizer can be one that knows nothing.)

    Raises:
        UserError: none that works.
    """
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    if not 0 < len(files) <= MOST_FILES:
        raise UserError(f"{folder}: {len(files)} files; expected a tokenizer's")
    for file in files:
        refuse_irregular(file, largest=LARGEST)
    tokenizer = text.tokenizer_of(str(folder))
    with text.loading(folder):
        text.tokenise(tokenizer, ["a"], length=tokens)
    if 2 * len(tokenizer) < vocabulary:
        raise UserError(
            f"{folder}: a tokenizer of {len(tokenizer)} tokens for an encoder of {vocabulary}; "
            "expected its own"
        )
    return tokenizer


def _refuse_costly(file: Path, content: Mapping[str, Any], shapes: Shapes) -> None:
    """Numbers that nothing in the weights bears out: what they ask for could take all memory."""
    longest = max((max(shape) for shape in shapes.values() if shape and 0 not in shape), default=0)
    for key, value in _values(content):
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            most = len(shapes) if REPEATS.search(key) else max(longest, LARGEST_NUMBER)
            if not -LARGEST_NUMBER <= value <= most:
                raise UserError(
                    f"{file}: {key} = {value:.6g}, and the weights hold {len(shapes)} tensors, "
                    f"none longer than {longest:,}; expected the configuration they were made for"
                )
        if isinstance(value, str) and key.endswith("implementation") and "/" in value:
            raise UserError(f"{file}: {key} = {value!r}: code from elsewhere; it is not run")


def _values(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """The single values in a mapping, each with its nearest key."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _values(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _values(inner, key)
    else:
        yield key, value
