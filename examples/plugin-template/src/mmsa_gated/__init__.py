"""A model of the MMSA toolkit in a package of its own."""

from pathlib import Path

import mmsa_suparc


def register() -> None:
    """Announce the model; nothing heavy is imported before it is built."""
    mmsa_suparc.register_model(
        "gated",
        "mmsa_gated.model:Gated",
        "mmsa_gated.trainer:GatedTrainer",
        Path(__file__).parent / "gated.yaml",
    )
