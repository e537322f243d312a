"""What the run in progress tells the patches, and they tell it."""

from __future__ import annotations

from contextvars import ContextVar

#: The text encoder of the run in progress, for models that hard-code another.
current_encoder: ContextVar[str | None] = ContextVar("current_encoder", default=None)
#: Whose metrics data of one's own are scored by, while a trainer is made.
scored_as: ContextVar[str | None] = ContextVar("scored_as", default=None)
#: The metrics that the latest seed gave, in the toolkit's order: columns of its results table.
last_metrics: ContextVar[tuple[str, ...]] = ContextVar("last_metrics", default=())
