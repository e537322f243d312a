"""The run folder: every name in it, written and read here, its records in ``records.py``.

::

    records.jsonl      a record a finished seed: the facts
    results.csv        a view of them: test metrics, a row a seed
    serving.json       what a predictor needs to know
    encoder/           of SupArc: the text encoder's configuration and tokenizer
    curves.png         training curves
    table.json         the row that it gave to the toolkit's table
    .lock              held while a run works here
    seed-N/
      config.yaml        values in force, as -c takes them
      environment.json   versions, device, command
      history.csv        a row an epoch
      run.log            what the trainer said
      model.safetensors  the best weights; model.json beside it: SHA-256, identity, code, shapes.
                         A benchmark may keep model.json alone
      predictions.csv    split, id, label, prediction
      metrics.json       by split; of SupArc also diagnostics: pairs, margins, gradients
      checkpoint.pth     the toolkit's, while training
      state-*            the training's state, while it goes on (``training/state.py``)
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from pydantic import ValidationError
from torch import Tensor

from mmsa_suparc.config import first_of
from mmsa_suparc.data import fingerprints, store
from mmsa_suparc.data.files import sha256, write_text
from mmsa_suparc.data.tables import read_table
from mmsa_suparc.errors import DiskError, UserError
from mmsa_suparc.plain_files import read_mapping, refuse_irregular
from mmsa_suparc.runs.records import WEIGHTS, WEIGHTS_SIDECAR, Diagnostics, Records
from mmsa_suparc.training.checkpoint import LARGEST_WEIGHTS, load_finite, save_tensors
from mmsa_suparc.training.state import StateFolder

#: Names that a saved predictor's folder shares.
SERVING, ENCODER = "serving.json", "encoder"


@dataclass(frozen=True)
class RunFolder(Records):
    """A run's folder; made when something is first written there."""

    @property
    def encoder(self) -> Path:
        """Where the text encoder's configuration and tokenizer are."""
        return self.path / ENCODER

    @property
    def curves(self) -> Path:
        """The picture of the training."""
        return self.path / "curves.png"

    def seed(self, number: int) -> SeedFolder:
        """The part of a seed."""
        return SeedFolder(self.seed_path(number))

    def histories(self) -> list[pd.DataFrame]:
        """A row an epoch, of every seed that has begun."""
        return [pd.read_csv(path) for path in sorted(self.path.glob("seed-*/history.csv"))]

    def write_results(self) -> None:
        """``results.csv``, a view of the records."""
        names = ("model", "dataset", "seed")
        rows = [
            {**{name: record[name] for name in names}, **record["metrics"]["test"]}
            for record in self.records()
        ]
        write_text(self.path / "results.csv", pd.DataFrame(rows).to_csv(index=False))

    def table_row(self) -> dict[str, Any] | None:
        """The row that was given to the toolkit's table last; None before that."""
        path = self.path / "table.json"
        return read_mapping(path) if path.exists() else None

    def keep_table_row(self, row: Mapping[str, Any]) -> None:
        """Remember it, so that it is not given twice."""
        write_text(self.path / "table.json", _json(row))

    def read_serving(self) -> dict[str, Any]:
        """See ``runs/servable.py``."""
        return read_mapping(self.path / SERVING)

    def write_serving(self, content: Mapping[str, Any]) -> None:
        """Likewise."""
        write_text(self.path / SERVING, json.dumps(content) + "\n")

    def owned(self, by: str) -> AbstractContextManager[None]:
        """Own the folder for the length of a run; see ``store.owned``."""
        return store.owned(self.path, by)


@dataclass(frozen=True)
class SeedFolder:
    """One seed's part of a run folder."""

    path: Path

    @property
    def log(self) -> Path:
        """What the trainer said."""
        return self.path / "run.log"

    @property
    def checkpoint(self) -> Path:
        """Where the toolkit's trainers keep their best weights while training."""
        return self.path / "checkpoint.pth"

    @property
    def weights(self) -> Path:
        """Those of the selected epoch."""
        return self.path / WEIGHTS

    def begin(self, values: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        """Make the folder, without what a killed training left of its checkpoint, and say in it
        what is about to run.

        Raises:
            DiskError: it cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.checkpoint.unlink(missing_ok=True)
        except OSError as error:
            raise DiskError(f"cannot write {self.path}: {error.strerror}") from None
        text = yaml.dump(dict(values), Dumper=_Plain, sort_keys=False, allow_unicode=True)
        write_text(self.path / "config.yaml", text)
        write_text(self.path / "environment.json", _json(environment))

    def states(self, identity: Mapping[str, Any], *, resume: bool) -> StateFolder:
        """The training's states; those of an earlier start are removed unless it goes on."""
        return StateFolder(self.path, identity, resume=resume)

    def end(self) -> None:
        """Remove what is of use only while training."""
        StateFolder(self.path, {}).clear()
        self.checkpoint.unlink(missing_ok=True)

    def write_history(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """A row an epoch."""
        write_text(self.path / "history.csv", pd.DataFrame(rows).to_csv(index=False))

    def keep(
        self,
        weights: dict[str, Tensor],
        *,
        identity: Mapping[str, Any],
        predictions: pd.DataFrame,
        metrics: Mapping[str, Any],
        diagnostics: Mapping[str, Any] | None = None,
    ) -> str:
        """Write what the seed gave; returns the SHA-256 of its weights."""
        checksum = save_tensors(self.weights, weights)
        sidecar = {
            "sha256": checksum,
            "identity": identity,
            "code": fingerprints.of_code(),
            "shapes": {name: list(tensor.shape) for name, tensor in weights.items()},
        }
        write_text(self.path / WEIGHTS_SIDECAR, _json(sidecar))
        write_text(self.path / "predictions.csv", predictions.to_csv(index=False))
        more = {} if diagnostics is None else {"diagnostics": diagnostics}
        write_text(self.path / "metrics.json", _json({**metrics, **more}))
        return checksum

    def read_history(self) -> pd.DataFrame:
        """A row an epoch."""
        return pd.read_csv(self.path / "history.csv")

    def read_config(self) -> dict[str, Any]:
        """The values in force, with the names of model and data set and the seed."""
        return read_mapping(self.path / "config.yaml")

    def read_environment(self) -> dict[str, Any]:
        """Versions, device, paths and command."""
        return read_mapping(self.path / "environment.json")

    def read_predictions(self) -> pd.DataFrame:
        """split, id, label, prediction of the validation and the test clips, in their order."""
        return read_table(self.path / "predictions.csv")

    def read_diagnostics(self) -> dict[str, Any] | None:
        """What the losses did; None for another model, or a run of an older version.

        Raises:
            UserError: something else stands there.
        """
        path = self.path / "metrics.json"
        found = read_mapping(path).get("diagnostics") if path.is_file() else None
        try:
            return None if found is None else Diagnostics.model_validate(found).model_dump()
        except ValidationError as error:
            raise UserError(f"{path}: diagnostics: {first_of(error)}; train again") from None

    def read_checksum(self) -> str:
        """The SHA-256 of the weights that were written."""
        return str(read_mapping(self.path / WEIGHTS_SIDECAR).get("sha256"))

    def remove_weights(self) -> None:
        """What they were of stays in ``model.json``."""
        self.weights.unlink(missing_ok=True)

    def read_weights(self, checksum: str) -> dict[str, Tensor]:
        """The best weights, by the names that the toolkit's ``AMIO`` gives them.

        Raises:
            UserError: they are not there, or not those that were written.
        """
        refuse_irregular(self.weights, largest=LARGEST_WEIGHTS)
        if sha256(self.weights) != checksum:
            raise UserError(f"{self.weights}: not the weights that were written (checksum differs)")
        return load_finite(self.weights)


class _Plain(yaml.SafeDumper):
    """Values that are used twice are written twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
