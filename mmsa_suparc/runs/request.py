"""A run as the user asked for it, and every check before a file is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from mmsa_suparc.data import reader, schema
from mmsa_suparc.data.fold import fold_of
from mmsa_suparc.data.folds import cut
from mmsa_suparc.data.text import check_tokens
from mmsa_suparc.errors import UserError
from mmsa_suparc.runs import identity, inputs, resuming, tracking
from mmsa_suparc.runs.folder import RunFolder
from mmsa_suparc.runs.places import Places
from mmsa_suparc.toolkit import catalogue, registry, settings
from mmsa_suparc.toolkit.settings import ModelConfig
from mmsa_suparc.training import processes


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

    @property
    def places(self) -> Places:
        """Everything that the run writes to."""
        return Places(
            run_dir=self.run_dir, results=self.table.parent, models=self.model_dir,
            logs=self.log_dir,
        )  # fmt: skip

    def content(self) -> reader.FeatureFile:
        """What is trained on: the splits of :meth:`file`, or those of its fold."""
        content, fold = self.file(), fold_of(self.config.values)
        return content if fold is None else cut(content, fold).of(schema.normalised(content))

    def file(self) -> reader.FeatureFile:
        """The feature file, with modalities of other files where ``-Ft -Fa -Fv`` ask for them;
        those are features of another making, so the file's own recipe no longer holds. Of a fold
        only the splits that are pooled."""
        return inputs.of_files(self.config, self.feature_files)

    def encoder(self) -> str:
        """See :func:`identity.encoder_of`."""
        return identity.encoder_of(self.config)

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
        return identity.of_run(
            self.config, seed, encoder=self.encoder(), device=self.device.type,
            feature_files=self.feature_files,
        )  # fmt: skip


def validate(request: Request) -> None:
    """Refuse everything that can be found wrong before a file is written.

    Raises:
        UserError: one line.
    """
    validate_inputs(request)
    request.folder.refuse_others(
        request.config.model, request.config.dataset, request.seeds, resume=request.resume
    )
    if request.resume:
        resuming.refuse_others(request.folder, request.seeds, request.identity)


def validate_inputs(request: Request) -> None:
    """The part of :func:`validate` that is of what is read: of what each of several machines has
    for itself.

    Raises:
        UserError: one line.
    """
    config = request.config
    catalogue.require_runnable(config.model, config.dataset)
    tracking.require_installed(request.tracker)
    content = inputs.checked(
        config, request.feature_files, allow_leak=request.allow_leak,
        allow_label_range=request.allow_label_range,
    )  # fmt: skip
    encoder = request.encoder()
    if config.values["use_bert"]:
        words = request.feature_files.get("feature_T", config.feature_path)
        tokens = schema.normalised(reader.read(words))
        check_tokens({split: tokens[split] for split in content}, encoder, words)
    fold = fold_of(config.values)
    if fold is not None:
        cut(content, fold)  # or refuse it


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
