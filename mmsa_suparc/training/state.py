"""The full state of a training run, so that a killed run goes on.

A state is one safetensors file with the weights, the optimiser's moments and the generators, and a
JSON sidecar beside it that names the run and holds the file's SHA-256 (neither safetensors nor
torch notices a flipped bit). The best weights are in a file of their own, written when they
change, which the sidecar names and holds the SHA-256 of; a state of the best epoch has no weights
beside them. The sidecar is written last: a state without its sidecar, or with other checksums,
does not count. The previous state is kept until the new one is whole. ``saving.py`` says when one
is written.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from operator import index
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from mmsa_suparc.data.files import sha256, write_text
from mmsa_suparc.errors import UserError
from mmsa_suparc.plain_files import read_mapping, refuse_irregular
from mmsa_suparc.training.checkpoint import save_tensors
from mmsa_suparc.training.identity import LARGEST_SIDECAR, other_ground, refuse_other_state

#: Bytes of a state's tensors, at most.
LARGEST_TENSORS = 128 << 30


@dataclass
class State:
    """Everything that the rest of a run depends on.

    Args:
        tensors: ``model.``, ``optimiser.`` and ``generator.`` with what each is of; no ``model.``
            where the best weights are those of this epoch.
        numbers: the rest, as JSON holds it; ``best_epoch`` names the epoch of the best weights.
        best: the best weights.
    """

    tensors: dict[str, Tensor] = field(repr=False)
    numbers: dict[str, Any] = field(repr=False)
    best: dict[str, Tensor] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class _Best:
    """The file of an epoch's best weights."""

    epoch: int
    sha256: str

    @classmethod
    def named_by(cls, sidecar: Mapping[str, Any]) -> _Best | None:
        """None: a state without best weights, or an earlier format, which held them itself."""
        named = sidecar.get("best")
        return None if named is None else cls(index(named["epoch"]), str(named["sha256"]))

    def path(self, folder: Path) -> Path:
        return folder / f"state-best-{self.epoch:05d}.safetensors"


class StateFolder:
    """The states of one run in one folder.

    Args:
        folder: where; made when the first state is saved.
        identity: what the run is of (seed, model, data set, configuration, data …): a state of
            another run is refused, by the name of what differs.
        resume: whether states that are there may be used; otherwise they are removed.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], *, resume: bool = False) -> None:
        self.folder = folder
        self.identity = json.loads(json.dumps(dict(identity), default=str))
        self._best: _Best | None = None  # what was written or read last
        if not resume:
            self.clear()

    def load(self) -> State | None:
        """The newest whole state, or None.

        Raises:
            UserError: it is of another run; names what differs.
        """
        for sidecar in sorted(self.folder.glob("state-*.json"), reverse=True):
            found = _whole(sidecar)
            if found is not None:
                self._check_identity(sidecar, found["identity"])
                self._best = _Best.named_by(found)
                best = None if self._best is None else load_file(self._best.path(self.folder))
                tensors = load_file(sidecar.with_suffix(".safetensors"))
                return State(tensors, found["numbers"], best)
        return None

    def save(self, epoch: int, state: State) -> None:
        """Write the state of an epoch; the one before it stays, older ones go.

        Raises:
            DiskError: older states are untouched.
        """
        if state.best is None:
            self._best = None
        elif self._best is None or self._best.epoch != state.numbers["best_epoch"]:
            best = _Best(state.numbers["best_epoch"], "")
            checksum = save_tensors(best.path(self.folder), state.best)
            self._best = replace(best, sha256=checksum)
        file = self.folder / f"state-{epoch:05d}.safetensors"
        sidecar = {
            "sha256": save_tensors(file, state.tensors),
            "best": None if self._best is None else asdict(self._best),
            "identity": self.identity,
            "numbers": state.numbers,
        }
        write_text(file.with_suffix(".json"), json.dumps(sidecar))
        self._sweep()

    def clear(self) -> None:
        """Remove all states; what a killed process left half written, too."""
        _remove(*self.folder.glob("state-*"), *self.folder.glob(".state-*"))

    def _sweep(self) -> None:
        """Remove all but the two newest states and the best weights that these name."""
        sidecars = sorted(self.folder.glob("state-*.json"))
        for old in sidecars[:-2]:
            _remove(old, old.with_suffix(".safetensors"))
        named = {_best_file(sidecar) for sidecar in sidecars[-2:]}
        _remove(*set(self.folder.glob("state-best-*")) - named)

    def _check_identity(self, sidecar: Path, found: Mapping[str, Any]) -> None:
        refuse_other_state(sidecar.parent, found, self.identity)
        changed = other_ground(found, self.identity)
        if changed:
            print(f"mmsa: {sidecar.parent}: its saved state is of {changed}", file=sys.stderr)


def _whole(sidecar: Path) -> dict[str, Any] | None:
    """What a sidecar holds, if the files beside it are those that it is of."""
    try:
        content = read_mapping(sidecar, largest=LARGEST_SIDECAR)
        best = _Best.named_by(content)
        whole = _is(sidecar.with_suffix(".safetensors"), content.get("sha256")) and (
            best is None or _is(best.path(sidecar.parent), best.sha256)
        )
    except (UserError, OSError, SafetensorError, LookupError, TypeError, ValueError):
        return None
    parts = [content.get("identity"), content.get("numbers")]
    return content if whole and all(isinstance(part, dict) for part in parts) else None


def _best_file(sidecar: Path) -> Path | None:
    """The best weights that a sidecar names."""
    with contextlib.suppress(UserError, OSError, LookupError, TypeError, ValueError):
        best = _Best.named_by(read_mapping(sidecar, largest=LARGEST_SIDECAR))
        return None if best is None else best.path(sidecar.parent)
    return None


def _is(file: Path, checksum: object) -> bool:
    """Whether it is a safetensors file of this SHA-256."""
    refuse_irregular(file, largest=LARGEST_TENSORS)
    with safe_open(file, framework="pt"):
        return sha256(file) == checksum


def _remove(*paths: Path) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            os.unlink(path)


def capture(
    model: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
    schedule: Any,
    scaler: Any,
    best_weights: dict[str, Tensor] | None,
    numbers: Mapping[str, Any],
    *,
    is_best: bool = False,
) -> State:
    """The state after an epoch; its tensors are the training's own, which go on changing.

    Args:
        model: its weights; likewise ``optimiser``, ``schedule``, ``scaler``.
        best_weights: of the best epoch so far.
        numbers: what else :func:`restore` needs.
        is_best: whether the best weights are those of this epoch.
    """
    weights = {} if is_best else model.state_dict()
    tensors = {f"model.{name}": tensor for name, tensor in weights.items()}
    moments = optimiser.state_dict()
    for place, values in moments["state"].items():
        for name, value in values.items():
            tensors[f"optimiser.{place}.{name}"] = torch.as_tensor(value)
    tensors["generator.torch"] = torch.get_rng_state()
    device = _cuda_device(model)
    if device is not None:
        tensors["generator.cuda"] = torch.cuda.get_rng_state(device)
    name, keys, *rest = np.random.get_state(legacy=True)
    return State(
        tensors,
        {
            **numbers,
            "groups": [
                {k: v for k, v in group.items() if k != "params"}
                for group in moments["param_groups"]
            ],
            "schedule": {k: v for k, v in schedule.state_dict().items() if k != "lr_lambdas"},
            "scaler": None if scaler is None else scaler.state_dict(),
            "python": random.getstate(),
            "numpy": [name, np.asarray(keys).tolist(), *rest],
        },
        best_weights,
    )


def restore(
    state: State,
    model: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
    schedule: Any,
    scaler: Any,
) -> dict[str, Tensor] | None:
    """Put everything back as it was after that epoch; returns the best weights."""

    def part(prefix: str) -> dict[str, Tensor]:
        start = f"{prefix}."
        return {
            name.removeprefix(start): tensor
            for name, tensor in state.tensors.items()
            if name.startswith(start)
        }

    best = state.best or part("best") or None  # an earlier format held them among the others
    model.load_state_dict(part("model") or best or {})
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in part("optimiser").items():
        place, _, what = name.partition(".")
        moments.setdefault(int(place), {})[what] = tensor
    groups = optimiser.state_dict()["param_groups"]
    for group, saved in zip(groups, state.numbers["groups"], strict=True):
        group.update({k: tuple(v) if isinstance(v, list) else v for k, v in saved.items()})
    optimiser.load_state_dict({"state": moments, "param_groups": groups})
    schedule.load_state_dict({**schedule.state_dict(), **state.numbers["schedule"]})
    if scaler is not None and state.numbers["scaler"] is not None:
        scaler.load_state_dict(state.numbers["scaler"])
    version, values, gauss = state.numbers["python"]
    random.setstate((version, tuple(values), gauss))
    name, keys, *rest = state.numbers["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(state.tensors["generator.torch"])
    device = _cuda_device(model)
    if device is not None and "generator.cuda" in state.tensors:
        torch.cuda.set_rng_state(state.tensors["generator.cuda"], device)
    return best


def _cuda_device(model: torch.nn.Module) -> torch.device | None:
    """The GPU that the model is on, whose generator alone this process draws from."""
    device = next(model.parameters()).device
    return device if device.type == "cuda" else None
