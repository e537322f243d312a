"""What a result is of: model, data, encoder and values; and what it stands on."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from mmsa_suparc.config import effective
from mmsa_suparc.data import fingerprints, reader
from mmsa_suparc.data.fold import fold_of
from mmsa_suparc.data.text import encoder_fingerprint, find_encoder
from mmsa_suparc.names import SPLITS
from mmsa_suparc.toolkit.settings import ModelConfig
from mmsa_suparc.training.identity import STANDS_ON


def needs_encoder(config: ModelConfig) -> bool:
    """Whether a text encoder is read: a model that takes ``text`` features needs none for a file
    that has them, unless the user named one."""
    content = reader.read(config.feature_path)
    has_text = all("text" in content[split] for split in SPLITS)
    return not has_text or config.values["use_bert"] or "pretrained" in config.chosen


def encoder_of(config: ModelConfig) -> str:
    """The run's text encoder, found; only its name where the run does without one.

    Raises:
        UserError: no such encoder.
    """
    return find_encoder(config.encoder) if needs_encoder(config) else config.encoder


def of_inputs(
    config: ModelConfig, encoder: str, feature_files: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Fingerprints of everything that is read: whole files.

    Args:
        config: names the feature file.
        encoder: a folder, or a name in the hub's cache.
        feature_files: files to take modalities from, by ``feature_T``, ``feature_A``,
            ``feature_V``.
    """
    return {
        "data": fingerprints.of_file(config.feature_path),
        "encoder": encoder_fingerprint(encoder) if needs_encoder(config) else "not used",
        **{flag: fingerprints.of_file(Path(name)) for flag, name in (feature_files or {}).items()},
    }


def of_surroundings(device: str, *, folded: bool = False) -> dict[str, str]:
    """Versions, and the kind of device: ``cpu``, ``cuda``; of a fold also of what cut it."""
    ground = {
        "torch": metadata.version("torch"),
        "transformers": metadata.version("transformers"),
        "toolkit": metadata.version("MMSA"),
        "device": device,
        **({"scikit-learn": metadata.version("scikit-learn")} if folded else {}),
    }
    return {f"{STANDS_ON}{name}": value for name, value in ground.items()}


def of_run(
    config: ModelConfig,
    seed: int,
    *,
    encoder: str,
    device: str,
    feature_files: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What a saved state or result of a run is of; goes without torch.

    Args:
        config: values in force.
        seed: of the training.
        encoder: the run's text encoder, found.
        device: its kind.
        feature_files: see :func:`of_inputs`.
    """
    return {
        "model": config.model,
        "dataset": config.dataset,
        "seed": seed,
        **of_inputs(config, encoder, feature_files),
        **of_surroundings(device, folded=fold_of(config.values) is not None),
        **{f"configuration.{key}": value for key, value in effective(config.values).items()},
    }
