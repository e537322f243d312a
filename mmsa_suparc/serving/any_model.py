"""A model of any kind out of its run folder, asked about the clips of a feature file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mmsa_suparc import plugin
from mmsa_suparc.data import missing, reader, schema
from mmsa_suparc.data.text import find_encoder
from mmsa_suparc.errors import UserError
from mmsa_suparc.names import MODALITIES, SPLITS
from mmsa_suparc.runs.folder import RunFolder
from mmsa_suparc.runs.servable import known_range
from mmsa_suparc.runs.trained import Trained, load_trained
from mmsa_suparc.serving.prediction import Classes, Prediction, Words, metrics_of

#: Said of scores without a modality by a model that is not told what is missing.
ZEROED = "{} knows no masks: a modality left out is zeros, an empty sentence"


def predict_file(
    run: str | Path,
    features: str | Path,
    *,
    seed: int | None = None,
    device: str = "cpu",
    classes: Classes | None = None,
) -> tuple[list[str], list[Prediction]]:
    """Score all clips of a feature file, of the form that the run was trained on.

    The file takes the place of the run's own, which need not be here. It is read as in training:
    of the toolkit's models by the toolkit.

    Args:
        run: the ``--run-dir`` of ``mmsa run``.
        features: the feature file.
        seed: by default the one with the best validation MAE.
        device: where the model computes.
        classes: see :class:`Words`.

    Returns:
        The clips' names, ``SPLIT/ID``, and a prediction each. Of a model that knows no masks the
        scores without a modality are those of zeroed inputs, which a warning says.

    Raises:
        UserError: no finished run there, or a file that does not fit its model.
    """
    folder, path = RunFolder(Path(run).expanduser()), Path(features).expanduser()
    record = folder.to_serve(seed, any_model=True)
    values = folder.seed(record["seed"]).read_config()
    content = schema.normalised(reader.read(path))
    lengths = not values.get("need_data_aligned")
    faults = schema.check(content, schema.Rules(lengths=lengths, allow_leak=True))
    if faults:
        raise schema.FaultsError(path, faults)
    here = {"featurePath": str(path.absolute()), "pretrained": _encoder(values, content)}
    with plugin.registered():
        try:
            trained = load_trained(folder.path, record["seed"], device=device, here=here)
        except RuntimeError as error:  # the toolkit's models have the file's widths
            why = str(error).splitlines()[-1].strip()
            raise UserError(f"{path}: features of another form than the run's ({why})") from None
        scores = known_range(trained.config, content) or _range(content)
        words = Words(scores, metrics_of(values), classes)
        names: list[str] = []
        found: list[Prediction] = []
        for split in SPLITS:
            names += [f"{split}/{name}" for name in trained.ids(split)]
            found += _of_split(trained, split, words)
    return names, found


def _of_split(trained: Trained, split: str, words: Words) -> list[Prediction]:
    inputs = trained.inputs(split)
    whole = trained.predict(split, inputs)
    without = [
        trained.predict(split, missing.keep(inputs, missing.subset(len(inputs), others)))
        for name in MODALITIES
        if (others := [m for m in MODALITIES if m != name])
    ]
    warnings = () if inputs.model_knows_masks else (ZEROED.format(trained.config.model),)
    found = []
    for score, *rest in zip(whole.tolist(), *(each.tolist() for each in without), strict=True):
        text, audio, vision = rest
        found.append(Prediction(score, words.of(score), text, audio, vision, warnings))
    return found


def _encoder(values: dict[str, Any], content: reader.FeatureFile) -> str:
    """The run's text encoder, found; its name alone where the file's text does without one."""
    name = str(values.get("pretrained", ""))
    try:
        return find_encoder(name)
    except UserError:
        if values.get("use_bert") or not all("text" in content[split] for split in SPLITS):
            raise
        return name


def _range(content: reader.FeatureFile) -> tuple[float, float]:
    labels = np.concatenate([np.ravel(content[split]["regression_labels"]) for split in SPLITS])
    return float(labels.min()), float(labels.max())
