"""What runs on this machine, and why the rest does not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

from mmsa_suparc.errors import UserError
from mmsa_suparc.toolkit import installed, registry, settings
from mmsa_suparc.toolkit.datasets import added_datasets
from mmsa_suparc.toolkit.old_transformers import OLD


def _needs_transformers() -> str | None:
    if OLD in sys.modules:
        return (
            f"the toolkit was imported before mmsa_suparc.register(), so that it uses {OLD}, which "
            "reads no safetensors and no hub of today"
        )
    return None


#: Defects that cannot be repaired from outside, by model: a reason, or None where it runs.
LIMITS: dict[str, Callable[[], str | None]] = {
    "cenet": _needs_transformers,  # only in the toolkit's Git version
}


@dataclass(frozen=True)
class Entry:
    """One model: where it comes from, its data sets, and why it does not run (or None)."""

    name: str
    origin: str
    datasets: tuple[str, ...]
    why_not: str | None


def models(dataset: str | None = None) -> list[Entry]:
    """Every model; ``why_not`` also covers a data set that it is not configured for."""
    return [_entry(name, dataset) for name in settings.model_names()]


def _entry(name: str, dataset: str | None) -> Entry:
    if name in registry.registered():
        return Entry(name, "plugin", tuple(settings.dataset_names()), None)
    known = installed.datasets_of(name)
    added = added_datasets().items()
    own = [ours for ours, base in added if base in known]
    why_not = LIMITS[name]() if name in LIMITS else None
    if dataset is not None and dataset not in [*known, *own]:
        why_not = f"the toolkit configures it for {', '.join(known)} only"
    return Entry(name, "toolkit", (*known, *own), why_not)


def require_runnable(model: str, dataset: str) -> None:
    """Refuse a model that cannot run here.

    Raises:
        UserError: with the reason.
    """
    entry = _entry(model, dataset)
    if entry.why_not is not None:
        raise UserError(f"model '{model}' does not run here: {entry.why_not}")
