"""The full state of a training run, saved every epoch so that a killed run goes on.

A state is one safetensors file with the weights, the best weights, the optimiser's moments and
the generators, and a JSON sidecar beside it that names the run and holds the file's SHA-256
(neither safetensors nor torch notices a flipped bit). The sidecar is written last: a state
without its sidecar, or with another checksum, does not count. The previous state is kept until
the new one is whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
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
from mmsa_suparc.training.checkpoint import save_weights
from mmsa_suparc.training.identity import first_difference, other_ground

#: Bytes of a sidecar and of a state's tensors, at most.
LARGEST_SIDECAR, LARGEST_TENSORS = 16 << 20, 128 << 30


@dataclass
class State:
    """Everything that the rest of a run depends on."""

    tensors: dict[str, Tensor] = field(repr=False)
    numbers: dict[str, Any] = field(repr=False)


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
                return State(load_file(sidecar.with_suffix(".safetensors")), found["numbers"])
        return None

    def save(self, epoch: int, state: State) -> None:
        """Write the state of an epoch; the one before it stays, older ones go.

        Raises:
            DiskError: older states are untouched.
        """
        file = self.folder / f"state-{epoch:05d}.safetensors"
        save_weights(file, state.tensors)
        sidecar = {"sha256": sha256(file), "identity": self.identity, "numbers": state.numbers}
        write_text(file.with_suffix(".json"), json.dumps(sidecar))
        for old in sorted(self.folder.glob("state-*.json"))[:-2]:
            _remove(old, old.with_suffix(".safetensors"))

    def clear(self) -> None:
        """Remove all states; what a killed process left half written, too."""
        _remove(*self.folder.glob("state-*"), *self.folder.glob(".state-*"))

    def _check_identity(self, sidecar: Path, found: Mapping[str, Any]) -> None:
        key = first_difference(found, self.identity)
        if key is not None:
            raise UserError(
                f"{sidecar.parent}: its saved state has {key} = {found.get(key)!r}, this run "
                f"{self.identity.get(key)!r}; use the same configuration or another --run-dir"
            )
        changed = other_ground(found, self.identity)
        if changed:
            print(f"mmsa: {sidecar.parent}: its saved state is of {changed}", file=sys.stderr)


def _whole(sidecar: Path) -> dict[str, Any] | None:
    """What a sidecar holds, if the file beside it is the one that it is of."""
    file = sidecar.with_suffix(".safetensors")
    try:
        content = read_mapping(sidecar, largest=LARGEST_SIDECAR)
        refuse_irregular(file, largest=LARGEST_TENSORS)
        with safe_open(file, framework="pt"):
            whole = sha256(file) == content.get("sha256")
    except (UserError, OSError, SafetensorError):
        return None
    parts = [content.get("identity"), content.get("numbers")]
    return content if whole and all(isinstance(part, dict) for part in parts) else None


def _remove(*paths: Path) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            os.unlink(path)


def capture(
    model: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
    schedule: Any,
    scaler: Any,
    best_weights: Mapping[str, Tensor] | None,
    numbers: Mapping[str, Any],
) -> State:
    """The state after an epoch."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    if best_weights is not None:
        tensors |= {f"best.{name}": tensor for name, tensor in best_weights.items()}
    moments = optimiser.state_dict()
    for place, values in moments["state"].items():
        for name, value in values.items():
            tensors[f"optimiser.{place}.{name}"] = torch.as_tensor(value)
    tensors["generator.torch"] = torch.get_rng_state()
    for place, generator in enumerate(cuda_generators()):
        tensors[f"generator.cuda.{place}"] = generator
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

    model.load_state_dict(part("model"))
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
    set_cuda_generators(list(part("generator.cuda").values()))
    return part("best") or None


def cuda_generators() -> list[Tensor]:
    """The state of each CUDA device's generator; none without CUDA."""
    return torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []


def set_cuda_generators(states: list[Tensor]) -> None:
    if states and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states)
