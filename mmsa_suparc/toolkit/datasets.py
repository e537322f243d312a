"""Data sets by name: the toolkit's, and those that it is taught."""

from __future__ import annotations

from typing import Any

from mmsa_suparc.toolkit import installed

#: Data sets of our own, and the toolkit's data set whose reader and metrics they share.
OWN_DATASETS = {"demo": "mosi", "custom": "mosi"}
#: What the user says of a data set of his own.
CUSTOM: dict[str, Any] = {
    "featurePath": "", "score_range": [-3.0, 3.0], "metrics": "mosi", "data_name": "custom",
}  # fmt: skip
#: Data sets of the toolkit's newer version, which an older one reads as another of its own, and
#: where that version looks for their files.
NEWER_DATASETS = {"simsv2": ("sims", "SIMSv2/Processed/sims_unaligned.pkl")}


def dataset_names() -> list[str]:
    """The toolkit's data sets, then those that it is taught."""
    return [*installed.dataset_names(), *added_datasets()]


def added_datasets() -> dict[str, str]:
    """The data sets that the installed toolkit does not know, and which of its own each is read
    as."""
    known = installed.dataset_names()
    newer = {name: base for name, (base, _) in NEWER_DATASETS.items() if name not in known}
    return {**newer, **OWN_DATASETS}


def treated_as(dataset: str) -> str:
    """The toolkit's data set that stands behind one that it is taught; else the name itself."""
    return added_datasets().get(dataset, dataset)
