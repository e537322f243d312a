"""A cell's folder: the run folder of its training, and what the benchmark keeps beside it.

::

    spec.json      what the cell's process has to do
    cell.log       what it printed
    seconds.json   how long it took, and how many ran at a time; failed.json: or why it failed
    job.json       the job of a cluster that it was given to last
    labels.csv     split, id, group, label of every clip
    words.json     the words of the test clips, by id
    missing.csv, noise.csv, geometry.csv, fusion.npz   what was asked of the trained model
    toolkit/       the toolkit's results table, which is shared by nobody here
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmsa_suparc.bench.plan import PROBES
from mmsa_suparc.data.files import write_text
from mmsa_suparc.runs.records import Records

LAST_LINES = 12
#: Bytes at the end of a log in which its last epoch is looked for.
END = 4_096
#: White space, control characters and halves of characters: of a stranger's words a space remains.
_NO_TEXT = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
EPOCH_LINE = re.compile(r"^epoch (\d+): valid Loss (?:\S+), MAE (\S+)\n", re.MULTILINE)


def epoch_line(row: Mapping[str, Any]) -> str:
    """An epoch of a cell, as its log has it; ``row`` as in the training's history."""
    mae = row.get("valid_MAE", math.nan)
    return f"epoch {row['epoch']}: valid Loss {row['valid_Loss']:.4f}, MAE {mae:.4f}"


@dataclass(frozen=True)
class CellFolder(Records):
    """One cell's; what its training left is read through ``runs.folder.RunFolder``."""

    @property
    def log(self) -> Path:
        """What the cell's process printed."""
        return self.path / "cell.log"

    @property
    def labels(self) -> Path:
        """Split, id and score of every clip."""
        return self.path / "labels.csv"

    @property
    def fusion(self) -> Path:
        """The test clips' ``ids`` (N,) and complete fusion ``vectors`` (N, D)."""
        return self.path / "fusion.npz"

    @property
    def toolkit(self) -> Path:
        """The run's ``result_dir``: the toolkit's table, which nobody else writes."""
        return self.path / "toolkit"

    def probe(self, name: str) -> Path:
        """What a probe has measured."""
        return self.path / f"{name}.csv"

    def keep_words(self, words: Mapping[str, str]) -> None:
        """What is said in each clip of the test split, by id."""
        plain = {name: _NO_TEXT.sub(" ", text).strip() for name, text in words.items()}
        write_text(self.path / "words.json", json.dumps(plain, ensure_ascii=False) + "\n")

    def words(self) -> dict[str, str] | None:
        """Likewise; None where a cell of an older version kept none."""
        with contextlib.suppress(OSError, ValueError):
            found: dict[str, str] = json.loads(
                (self.path / "words.json").read_text(encoding="utf-8")
            )
            return found
        return None

    def is_done(self, probes: tuple[str, ...]) -> bool:
        """Whether the training is recorded and every probe has been taken."""
        recorded = bool(self.records()) and self.labels.is_file()
        return recorded and all(self.probe(name).is_file() for name in probes)

    def lacks_model(self) -> bool:
        """Whether the training is recorded and kept no weights."""
        return any(self.kept_no_model(record["seed"]) for record in self.records())

    def start_over(self) -> None:
        """Forget a training and what was asked of its model; the record goes last."""
        for path in (*map(self.probe, PROBES), self.fusion, self.path / "records.jsonl"):
            path.unlink(missing_ok=True)

    def has_spec(self) -> bool:
        """Whether this is a cell's folder."""
        return (self.path / "spec.json").is_file()

    def read_spec(self) -> dict[str, Any]:
        """What the cell's process has to do."""
        spec: dict[str, Any] = json.loads((self.path / "spec.json").read_text(encoding="utf-8"))
        return spec

    def write_spec(self, spec: Mapping[str, Any]) -> None:
        """Likewise."""
        write_text(self.path / "spec.json", json.dumps(spec, indent=2, default=str) + "\n")

    def seconds(self) -> float | None:
        """How long it took, where it has ended well."""
        return self._timed("seconds")

    def at_once(self) -> int | None:
        """How many cells could run at a time while it did, where that is known."""
        found = self._timed("at_once")
        return None if found is None else int(found)

    def _timed(self, key: str) -> float | None:
        with contextlib.suppress(OSError, ValueError, KeyError):
            content = json.loads((self.path / "seconds.json").read_text(encoding="utf-8"))
            return float(content[key])
        return None

    def failure(self) -> dict[str, Any] | None:
        """Why it failed: its exit status and last lines; None if it did not."""
        with contextlib.suppress(OSError, ValueError):
            text = (self.path / "failed.json").read_text(encoding="utf-8")
            found: dict[str, Any] = json.loads(text)
            return found
        return None

    def keep_outcome(self, status: int, seconds: float, at_once: int | None = None) -> None:
        """Keep what the cell took, or why it failed.

        Args:
            status: it ended with.
            seconds: it took.
            at_once: cells that could run beside it on this machine, itself counted; None where
                others decide that.
        """
        if status == 0:
            (self.path / "failed.json").unlink(missing_ok=True)
            known = {} if at_once is None else {"at_once": at_once}
            write_text(self.path / "seconds.json", json.dumps({"seconds": seconds, **known}))
        else:
            content = {"status": status, "lines": self.last_lines()}
            write_text(self.path / "failed.json", json.dumps(content))

    def forget_failure(self) -> None:
        """It is about to be run again."""
        (self.path / "failed.json").unlink(missing_ok=True)

    def job(self) -> dict[str, Any] | None:
        """The job of a cluster that it was given to last."""
        with contextlib.suppress(OSError, ValueError):
            text = (self.path / "job.json").read_text(encoding="utf-8")
            found: dict[str, Any] = json.loads(text)
            return found
        return None

    def keep_job(self, job: Mapping[str, Any]) -> None:
        """Likewise."""
        write_text(self.path / "job.json", json.dumps(job) + "\n")

    def log_size(self) -> int:
        """Bytes of the cell's log so far."""
        with contextlib.suppress(OSError):
            return self.log.stat().st_size
        return 0

    def last_epoch(self, since: int = 0) -> tuple[int, float] | None:
        """The last epoch that the log tells whole, and its validation MAE.

        Args:
            since: bytes at the log's beginning that are of earlier starts.
        """
        with contextlib.suppress(OSError, ValueError), self.log.open("rb") as log:
            log.seek(max(since, log.seek(0, os.SEEK_END) - END))
            found = EPOCH_LINE.findall(log.read().decode(errors="replace"))
            return (int(found[-1][0]), float(found[-1][1])) if found else None
        return None

    def last_lines(self) -> list[str]:
        """The end of the cell's log."""
        with contextlib.suppress(OSError):
            text = self.log.read_text(encoding="utf-8", errors="replace")
            return text.splitlines()[-LAST_LINES:]
        return []
