"""Patches on the toolkit, applied together and undone together; what each does is in ``patches/``.

A patch checks that the symbol it replaces is there, and says what it expected if not. None edits a
file of the toolkit, and none touches a module outside ``MMSA``: where the toolkit misuses another
library, it is given an :class:`Overlay` of that library instead.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from mmsa_suparc.errors import SupArcError


class PatchError(SupArcError):
    """The installed toolkit lacks a symbol that a patch replaces."""


@dataclass(frozen=True)
class Patch:
    """One change of the toolkit.

    Args:
        name: as in ``docs/toolkit-repairs.md``.
        does: what is different with it.
        answers: the toolkit's lines that it is for.
        apply: makes the change, and leaves on the stack how to take it back.
    """

    name: str
    does: str
    answers: str
    apply: Callable[[contextlib.ExitStack], None]


def patch(
    name: str, *, does: str, answers: str
) -> Callable[[Callable[[contextlib.ExitStack], None]], Patch]:
    """Makes a :class:`Patch` of the function that applies it."""
    return lambda function: Patch(name, does, answers, function)


_in_force: tuple[Patch, ...] = ()
_undo = contextlib.ExitStack()


def in_force() -> tuple[Patch, ...]:
    """The patches that are applied now; none before :func:`apply` and after :func:`undo`."""
    return _in_force


def apply(patches: Iterable[Patch]) -> None:
    """Put patches in force, all or none; does nothing where some are.

    Raises:
        PatchError: the toolkit lacks a symbol that one of them replaces.
    """
    global _in_force, _undo
    if _in_force:
        return
    patches = tuple(patches)
    with contextlib.ExitStack() as stack:
        for each in patches:
            each.apply(stack)
        _in_force, _undo = patches, stack.pop_all()


def undo() -> None:
    """Take every patch back, in reverse order; does nothing where there are none."""
    global _in_force
    _in_force = ()
    _undo.close()


_MISSING = object()


def original(owner: Any, name: str) -> Any:
    """What the toolkit has under ``owner.name``.

    Raises:
        PatchError: nothing.
    """
    if name not in vars(owner):
        raise PatchError(
            f"the installed MMSA has no {owner.__name__}.{name}; this version of mmsa-suparc "
            "expects it. Install MMSA 2.2.1 or a newer mmsa-suparc"
        )
    return vars(owner)[name]


def replace(
    undo: contextlib.ExitStack, owner: Any, name: str, value: Any, *, new: bool = False
) -> None:
    """Set ``owner.name`` until undone.

    Raises:
        PatchError: the toolkit has no such name (unless ``new``).
    """
    before = vars(owner).get(name, _MISSING) if new else original(owner, name)
    setattr(owner, name, value)

    def restore() -> None:
        if before is _MISSING:
            delattr(owner, name)
        else:
            setattr(owner, name, before)

    undo.callback(restore)


class Overlay(ModuleType):
    """A module seen through a few replaced names; the module itself stays as it is."""

    def __init__(self, module: ModuleType, **replaced: Any) -> None:
        super().__init__(module.__name__)
        self.__dict__["_module"] = module
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_module"], name)
