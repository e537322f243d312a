"""The one place that wires toolkit, patches and models, SupArc like any other.

See :mod:`mmsa_suparc` for what these functions promise.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from mmsa_suparc import announced
from mmsa_suparc.runs import seeds
from mmsa_suparc.toolkit import patches, patching

#: What is changed in the toolkit while the plugin is registered.
PATCHES = patches.every(seeds.toolkit_run)


def register() -> None:
    """See :func:`mmsa_suparc.register`."""
    put_in_force()
    announced.announce()


def put_in_force() -> None:
    """The patches alone: models that are in the registry are models of the toolkit."""
    patching.apply(PATCHES)


def unregister() -> None:
    """See :func:`mmsa_suparc.unregister`."""
    patching.undo()


@contextlib.contextmanager
def registered() -> Iterator[None]:
    """Within this block the plugin is registered; afterwards the toolkit is as it was found."""
    before = bool(patching.in_force())
    register()
    try:
        yield
    finally:
        if not before:
            unregister()
