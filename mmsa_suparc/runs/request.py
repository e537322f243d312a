"""A run as the user asked for it, and every check before a file is written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmsa_suparc.config import effective
from mmsa_suparc.data import reader, schema
from mmsa_suparc.data.files import try_writing
from mmsa_suparc.data.fold import fold_of
from mmsa_suparc.data.folds import cut
from mmsa_suparc.data.store import Record
from mmsa_suparc.data.text import check_tokens, find_encoder
from mmsa_suparc.errors import DiskError, UserError
from mmsa_suparc.names import SPLITS
from mmsa_suparc.runs import identity, tracking
from mmsa_suparc.runs.folder import RunFolder
from mmsa_suparc.runs.known import known_range
from mmsa_suparc.toolkit import catalogue, registry, settings
from mmsa_suparc.toolkit.datasets import treated_as
from mmsa_suparc.toolkit.settings import ModelConfig
from mmsa_suparc.training import processes
from mmsa_suparc.training.identity import first_difference, other_ground

#: The fields that ``-Ft -Fa -Fv`` take from another file.
FIELDS_OF = {
    "T": ("text", "text_bert"),
    "A": ("audio", "audio_lengths"),
    "V": ("vision", "vision_lengths"),
}


@dataclass(frozen=True)
class Request:
    """What was asked for.

    Args:
        config: values in force.
        seeds: in this order.
        run_dir: the run folder.
        device: where tensors live.
        result_dir: the toolkit's ``res_save_dir``: the table shared by all runs.
        model_dir: also save the weights there.
        log_dir: also log there, as the toolkit does.
        num_workers: loader processes for the toolkit's models.
        feature_files: files to take modalities from, by ``feature_T``, ``feature_A``,
            ``feature_V``.
        resume: keep finished seeds and go on with a killed one.
        allow_leak: clips may be in two splits.
        allow_label_range: scores may be beyond the data set's range.
        tracker: ``tensorboard``, ``wandb`` or None.
        command: what was typed, where it is not this process's command line.
    """

    config: ModelConfig
    seeds: Sequence[int]
    run_dir: Path
    device: torch.device
    result_dir: Path
    model_dir: Path | None = None
    log_dir: Path | None = None
    num_workers: int = 0
    feature_files: Mapping[str, str] = field(default_factory=dict)
    resume: bool = False
    allow_leak: bool = False
    allow_label_range: bool = False
    tracker: str | None = None
    command: str = ""

    @property
    def folder(self) -> RunFolder:
        """The run folder."""
        return RunFolder(self.run_dir)

    @property
    def table(self) -> Path:
        """The toolkit's table, which all runs on a data set share."""
        return self.result_dir / "normal" / f"{self.config.data_name}.csv"

    def content(self) -> reader.FeatureFile:
        """What is trained on: the splits of :meth:`file`, or those of its fold."""
        content, fold = self.file(), fold_of(self.config.values)
        return content if fold is None else cut(content, fold).of(schema.normalised(content))

    def file(self) -> reader.FeatureFile:
        """The feature file, with modalities of other files where ``-Ft -Fa -Fv`` ask for them;
        those are features of another making, so the file's own recipe no longer holds. Of a fold
        only the splits that are pooled."""
        content = reader.read(self.config.feature_path)
        for flag, name in self.feature_files.items():
            other = reader.read(name)
            _refuse_other_clips(content, other, f"-F{flag[-1].lower()} {name}")
            content = _with_modality(content, other, flag[-1])
        fold = fold_of(self.config.values)
        return content if fold is None else {split: content[split] for split in fold.pool}

    def encoder(self) -> str:
        """The run's text encoder, found; only its name where the run does without one.

        Raises:
            UserError: no such encoder.
        """
        name = self.config.encoder
        return find_encoder(name) if identity.needs_encoder(self.config) else name

    def args(self, *, ordinal: int, checkpoint: Path) -> Any:
        """The toolkit's ``args`` of a seed, the ``ordinal``-th one."""
        args = settings.run_args(
            self.config, device=self.device, checkpoint=checkpoint, ordinal=ordinal,
            feature_files=self.feature_files,
        )  # fmt: skip
        args["pretrained"] = self.encoder()
        return args

    def identity(self, seed: int) -> dict[str, Any]:
        """What a saved state or result is of."""
        config = self.config
        return {
            "model": config.model,
            "dataset": config.dataset,
            "seed": seed,
            **identity.of_inputs(config, self.encoder(), self.feature_files),
            **identity.of_surroundings(self.device.type, folded=fold_of(config.values) is not None),
            **{f"configuration.{key}": value for key, value in effective(config.values).items()},
        }


def _refuse_other_clips(content: reader.FeatureFile, other: reader.FeatureFile, named: str) -> None:
    """Clips of two files are put together by their places, so the places have to agree.

    Raises:
        UserError: the first that does not.
    """
    for split in SPLITS:
        both = (np.ravel(part[split].get("id", ())) for part in (content, other))
        for place, (ours, found) in enumerate(zip(*both, strict=False)):
            if str(ours) != str(found):
                raise UserError(
                    f"{named}: {split}: clip {place} is '{found}'; expected '{ours}', the "
                    "same clips in the same order as in the feature file"
                )


def _with_modality(
    content: reader.FeatureFile, other: reader.FeatureFile, letter: str
) -> reader.FeatureFile:
    """The content with one modality's fields from another file."""
    outdated = {*FIELDS_OF[letter], *(("recipe",) if letter in "AV" else ())}
    return {
        split: {
            **{name: value for name, value in content[split].items() if name not in outdated},
            **{name: other[split][name] for name in FIELDS_OF[letter] if name in other[split]},
        }
        for split in SPLITS
    }


def validate(request: Request) -> None:
    """Refuse everything that can be found wrong before a file is written.

    Raises:
        UserError: one line.
    """
    validate_inputs(request)
    request.folder.refuse_others(
        request.config.model, request.config.dataset, request.seeds, resume=request.resume
    )


def validate_inputs(request: Request) -> None:
    """The part of :func:`validate` that is of what is read: of what each of several machines has
    for itself.

    Raises:
        UserError: one line.
    """
    config = request.config
    catalogue.require_runnable(config.model, config.dataset)
    tracking.require_installed(request.tracker)
    path = config.feature_path
    settings.find_inputs(path, request.feature_files)
    content = request.file()
    encoder = request.encoder()
    scores = known_range(config, content)
    rules = schema.Rules(
        score_range=None if request.allow_label_range else scores,
        lengths=not config.values["need_data_aligned"],
        unimodal="sims" in treated_as(config.dataset),
        allow_leak=request.allow_leak,
    )
    faults = schema.check(content, rules)
    if faults:
        others = {
            name: file for flag, file in request.feature_files.items()
            for name in FIELDS_OF[flag[-1]]
        }  # fmt: skip
        raise schema.FaultsError(path, faults, others=others)
    if config.values["use_bert"]:
        words = request.feature_files.get("feature_T", path)
        tokens = schema.normalised(reader.read(words))
        check_tokens({split: tokens[split] for split in content}, encoder, words)
    fold = fold_of(config.values)
    if fold is not None:
        cut(content, fold)  # or refuse it


def try_outputs(request: Request, table: Path) -> None:
    """Try every place that the run will write to, before hours of work.

    Args:
        request: names the places.
        table: that of the results, shared with other runs.

    Raises:
        DiskError: names the option with which to choose another place.
    """
    for flag, folder in (
        ("--model-save-dir", request.model_dir),
        ("--log-dir", request.log_dir),
        ("--res-save-dir", table.parent),
        ("--run-dir", request.run_dir),
    ):
        if folder is not None:
            try:
                try_writing(folder)
            except DiskError as error:
                raise DiskError(f"{error}; choose another place with {flag}") from None


def refuse_other_run(request: Request, record: Record) -> str:
    """A seed that is recorded is kept only where it is of the same request.

    Returns:
        What it stands on that is another now, in words.

    Raises:
        UserError: names what differs.
    """
    wanted = json.loads(json.dumps(request.identity(record["seed"]), default=str))
    found = record["identity"]
    which = f"--run-dir {request.run_dir}: seed {record['seed']}"
    if "encoder" not in found:
        raise UserError(
            f"{which} was run by an older version, which did not say of what encoder and of what "
            "whole feature file; use another folder"
        )
    key = first_difference(found, wanted)
    if key is not None:
        raise UserError(
            f"{which} was run with {key} = {found.get(key)!r}, this run has {wanted.get(key)!r}; "
            "use the same configuration or another folder"
        )
    return other_ground(found, wanted)


def refuse_launcher(request: Request) -> None:
    """Only trainers that say so share a model between processes.

    Raises:
        UserError: several were launched for a model whose trainer knows one.
    """
    model = request.config.model
    if processes.count() > 1 and not registry.trainer_offers(model, "shares_batches"):
        raise UserError(
            f"-m {model}: its trainer knows one process, and {processes.count()} were launched; "
            "start it without torchrun or accelerate launch"
        )
