"""Models by name, and what a model and its trainer have to offer."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from pydantic import BaseModel

from mmsa_suparc.errors import UserError, in_a_line, nearest, shown


class Model(Protocol):
    """What the toolkit's runner and trainers ask of a model: a ``torch.nn.Module`` whose

    ``forward(text, audio, vision)`` returns a dictionary with the scores (B, 1) under ``"M"``;
    ``audio`` and ``vision`` are pairs of frames and lengths where the data are unaligned.
    """

    def __call__(self, text: Any, audio: Any, vision: Any) -> Any: ...


class Trainer(Protocol):
    """What the toolkit's runner asks of a trainer, made as ``trainer(args)``."""

    def do_train(
        self, model: Any, dataloader: dict[str, Any], return_epoch_results: bool = False
    ) -> Any:
        """Train on ``dataloader["train"]``, select by ``dataloader["valid"]`` through
        :meth:`do_test`, and save the best weights to ``args.model_save_path``."""

    def do_test(self, model: Any, dataloader: Any, mode: str = "VAL") -> dict[str, Any]:
        """The metrics of a split, ``Loss`` among them; ``mode`` is VAL, VALID or TEST."""


class AbleTrainer(Trainer, Protocol):
    """What a trainer may offer beside it, each by itself; SupArc's offers all."""

    #: Several processes may train one model, each with its part of every batch.
    shares_batches: bool
    #: It needs no float32 copies of the features, only arrays to read (memory maps).
    takes_arrays: bool
    #: A ``training.state.StateFolder`` to save the training in and to go on from, or None.
    states: Any
    #: Asked after each step; True ends the training with ``errors.StoppedError``.
    should_stop: Callable[[], bool]
    #: Given each epoch's row as soon as it is there; without it ``do_test`` is listened to.
    on_epoch: Callable[[dict[str, Any]], None]

    @property
    def leaves_best_weights(self) -> bool:
        """After :meth:`do_train` the model has the best weights: nothing is read back from
        ``args.model_save_path``, which need not exist."""

    def predict(self, model: Any, dataloader: Any) -> Any:
        """Scores (N,) in the order of the split; without it the model's outputs are caught."""

    def measure(self, model: Any, dataloader: Any, mode: str) -> tuple[dict[str, Any], Any]:
        """What :meth:`do_test` and :meth:`predict` give, at once."""

    def diagnose(self, model: Any, dataloader: Any) -> dict[str, Any]:
        """What the losses do to a split, for ``metrics.json``, as ``runs.records.Diagnostics`` has
        it; its ``warnings`` are shown at the end of the run."""


@dataclass(frozen=True)
class RegisteredModel:
    """A model that a plugin brought: how to build and train it, and its default values.

    ``model`` and ``trainer`` may say where they stand, ``package.module:name``, instead.
    """

    name: str
    model: Callable[[Any], Model] | str
    trainer: Callable[[Any], Trainer] | str
    config: Mapping[str, Any] = field(repr=False)
    source: str  # what error messages call its configuration
    schema: type[BaseModel] | None = None

    def maker(self, part: Literal["model", "trainer"]) -> Callable[[Any], Any]:
        """What makes a model or a trainer; one that is only named is imported when it is called."""
        known: Callable[[Any], Any] | str = getattr(self, part)
        return known if callable(known) else lambda args: self._imported(part)(args)

    def trainer_offers(self, ability: str) -> bool:
        """Whether the trainer says that it can do this; see :class:`AbleTrainer`."""
        return bool(getattr(self._imported("trainer"), ability, False))

    def _imported(self, part: Literal["model", "trainer"]) -> Any:
        known = getattr(self, part)
        if not isinstance(known, str):
            return known
        try:
            return pkgutil.resolve_name(known)
        except (ImportError, AttributeError, ValueError) as error:
            raise UserError(
                f"model '{self.name}': its {part} {shown(known)} cannot be imported "
                f"({in_a_line(error)})"
            ) from error

    def is_like(self, other: RegisteredModel) -> bool:
        """Whether it is the same again: the same names and values. A notebook's cell that runs
        twice makes new classes of the same names."""
        return _described(vars(self)) == _described(vars(other))


def _described(values: Mapping[str, Any]) -> dict[str, Any]:
    """Classes and functions by their names, the rest as it is."""
    return {
        key: (value.__module__, value.__qualname__) if hasattr(value, "__qualname__") else value
        for key, value in values.items()
    }


_registered: dict[str, RegisteredModel] = {}


def registered() -> dict[str, RegisteredModel]:
    """The models registered in this process."""
    return dict(_registered)


def add(entry: RegisteredModel, *, overwrite: bool = False) -> None:
    """Put a model in the table; one that is like that of the same name takes its place.

    Raises:
        UserError: another model has the name, and ``overwrite`` does not say to replace it.
    """
    known = _registered.get(entry.name)
    if known is not None and not overwrite and not known.is_like(entry):
        raise UserError(
            f"model name '{entry.name}' is taken by {known.model!r}; choose another, or replace "
            "it with overwrite=True"
        )
    _registered[entry.name] = entry


def remove(name: str) -> None:
    """Take a model out of the table.

    Raises:
        UserError: no model of that name was registered.
    """
    if name not in _registered:
        raise UserError(f"model name '{name}' is not registered{nearest(name, _registered)}")
    del _registered[name]


def trainer_offers(name: str, ability: str) -> bool:
    """Whether a registered model's trainer says that it can do this; see :class:`AbleTrainer`."""
    entry = _registered.get(name)
    return entry is not None and entry.trainer_offers(ability)


def masks_by_itself(name: str) -> bool:
    """Whether a registered model has a key ``modalities`` of its own, as SupArc has; features of
    any other are zeroed for it."""
    entry = _registered.get(name)
    if entry is None:
        return False
    in_schema = entry.schema is not None and "modalities" in entry.schema.model_fields
    return in_schema or "modalities" in (entry.config.get("shared") or entry.config)
