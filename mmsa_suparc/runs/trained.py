"""A trained model out of its run folder, ready to be asked."""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils.data import SequentialSampler

from mmsa_suparc.config import Layer
from mmsa_suparc.data import reader
from mmsa_suparc.data.groups import groups_by_id
from mmsa_suparc.data.missing import Inputs
from mmsa_suparc.data.tables import plain_cell
from mmsa_suparc.errors import UserError
from mmsa_suparc.names import MODALITIES
from mmsa_suparc.runs.folder import RunFolder
from mmsa_suparc.runs.recorder import Recorder
from mmsa_suparc.runs.seeds import build
from mmsa_suparc.toolkit import features, registry, settings
from mmsa_suparc.toolkit.calls import dataset
from mmsa_suparc.toolkit.loaders import batch_size_of, make_loader


@dataclass
class Trained:
    """A model with its weights, its trainer, and the data that it was trained on."""

    config: settings.ModelConfig
    model: Any
    trainer: Any
    loaders: dict[str, Any]
    args: Any
    batch_size: int | None = None  # by default the run's

    @property
    def is_suparc(self) -> bool:
        return self.config.model == "suparc"

    @property
    def knows_masks(self) -> bool:
        """Whether the model is told what is missing."""
        return registry.trainer_offers(self.config.model, "takes_arrays")

    def ids(self, split: str) -> list[str]:
        """The clips' names, as every table of a run has them."""
        return [plain_cell(str(name)) for name in self.loaders[split].dataset.ids]

    def inputs(self, split: str) -> Inputs:
        """What the model sees of a split."""
        data = self.loaders[split].dataset
        lengths = {
            name: None if getattr(data, name, None) is None else np.asarray(getattr(data, name))
            for name in ("audio_lengths", "vision_lengths")
        }
        return Inputs(
            np.asarray(data.text), np.asarray(data.audio), np.asarray(data.vision), **lengths,
            text_is_tokens=bool(self.config.values["use_bert"]),
            model_knows_masks=self.knows_masks,
        )  # fmt: skip

    def predict(self, split: str, inputs: Inputs | None = None) -> np.ndarray:
        """Scores (N,) of a split, or of other inputs in its place."""
        loader = self.loaders[split] if inputs is None else self._loader_of(split, inputs)
        return self._test(loader, "valid" if split == "valid" else "test")

    def score(self, fields: Mapping[str, Any]) -> np.ndarray:
        """Scores (N,) of clips that are given as a feature file's split has them, read by the
        toolkit as in training; see :func:`mmsa_suparc.toolkit.calls.dataset`."""
        count = len(fields["id"])
        if count == 1:  # some models fail on a batch of one clip
            fields = {name: np.concatenate([value, value]) for name, value in fields.items()}
        return self._test(self._in_order(dataset(self.args, fields)), "test")[:count]

    def _test(self, loader: Any, split: str) -> np.ndarray:
        recorder = Recorder(self.trainer, epochs=None, on_epoch=lambda row: None)
        return recorder.test(self.model, loader, split)[1].numpy()

    def _loader_of(self, split: str, inputs: Inputs) -> Any:
        data = copy.copy(self.loaders[split].dataset)
        for name in ("text", "audio", "vision", "audio_lengths", "vision_lengths"):
            value = getattr(inputs, name)
            if value is None:
                continue
            incomplete = getattr(data, f"{name}_m", None)  # TFR-Net's: some of it is gone
            if incomplete is not None:
                was_kept = incomplete == getattr(data, name)
                setattr(data, f"{name}_m", np.where(was_kept, value, incomplete))
            setattr(data, name, value)
        return self._in_order(data)

    def _in_order(self, data: Any) -> Any:
        size = self.batch_size or batch_size_of(self.loaders["test"])
        return make_loader(data, SequentialSampler(data), batch_size=size)

    def scores(self) -> pd.DataFrame:
        """split, id, label of every clip, training ones included; ``label_text``, ``label_audio``
        and ``label_vision`` too where the data set annotates each modality. ``group`` is its video
        or speaker, empty where that is not known."""
        groups = groups_by_id(reader.read(self.config.feature_path))

        def column(labels: Any) -> np.ndarray:
            return np.asarray(labels, dtype=float).reshape(-1)

        return pd.concat(
            pd.DataFrame(
                {
                    "split": split,
                    "id": self.ids(split),
                    "group": [plain_cell(groups.get(str(name), "")) for name in data.ids],
                    "label": column(data.labels["M"]),
                    **{
                        f"label_{name}": column(data.labels[name[0].upper()])
                        for name in MODALITIES
                        if name[0].upper() in data.labels
                    },
                }
            )
            for split, data in ((split, loader.dataset) for split, loader in self.loaders.items())
        )


def load_trained(
    run_dir: Path,
    seed: int,
    *,
    device: torch.device | str = "cpu",
    here: Mapping[str, str] | None = None,
    content: reader.FeatureFile | None = None,
) -> Trained:
    """The model that a run left for a seed.

    Args:
        run_dir: the run folder.
        seed: one that is finished.
        device: where the model goes.
        here: where this machine has what the run's configuration names, see
            ``settings.ModelConfig``.
        content: splits in place of the run's feature file, which is then not needed; their text
            fits the encoder.

    Raises:
        UserError: no such seed there, or weights that are not those of the record.
    """
    folder = RunFolder(run_dir).seed(seed)
    try:
        values = folder.read_config()
        values["featurePath"] = folder.read_environment()["feature_file"]
        weights = folder.read_weights(folder.read_checksum())
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{folder.path}: no finished run of seed {seed} ({error})") from None
    model, dataset = values.pop("model_name"), values.pop("dataset_name")
    values.pop("seed")
    config = settings.load(model, dataset, overrides=[Layer(str(folder.path), values)])
    config = replace(config, here=here or {})
    args = settings.run_args(config, device=torch.device(device), checkpoint=Path(os.devnull))
    with contextlib.nullcontext() if content is None else features.given(content):
        loaders, network, trainer = build(args, seed=seed)
    network.load_state_dict(weights)
    if not hasattr(trainer, "model"):  # the toolkit's MMIM and MCTN tests know that of its training
        trainer.model = network
    return Trained(config, network.eval(), trainer, loaders, args)
