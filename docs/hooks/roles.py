"""Docstrings are written with Sphinx's marks; the site reads Markdown."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:func|class|meth|mod|data):`~?([^`]+)`")


class Roles(griffe.Extension):
    """:func:`x` becomes `x`, and a colon is one."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        if isinstance(obj, griffe.Alias) or obj.docstring is None:
            return
        text = ROLE.sub(r"`\1`", obj.docstring.value).replace("``", "`")
        obj.docstring.value = re.sub(r"::$", ":", text, flags=re.MULTILINE)
