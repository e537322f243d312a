"""The feature files that the toolkit's authors publish, known by what they hold.

Source: the SHA-256 sums in the README of https://github.com/thuiar/MMSA, section 2.
"""

from __future__ import annotations

from pathlib import Path

from mmsa_suparc.data import fingerprints

#: SHA-256 of the file, and its path below the data root.
RELEASES = {
    "78e0f8b5ef8ff71558e7307848fc1fa929ecb078203f565ab22b9daab2e02524":
        "MOSI/Processed/unaligned_50.pkl",
    "d3994fd25681f9c7ad6e9c6596a6fe9b4beb85ff7d478ba978b124139002e5f9":
        "MOSI/Processed/aligned_50.pkl",
    "ad8b23d50557045e7d47959ce6c5b955d8d983f2979c7d9b7b9226f6dd6fec1f":
        "MOSEI/Processed/unaligned_50.pkl",
    "45eccfb748a87c80ecab9bfac29582e7b1466bf6605ff29d3b338a75120bf791":
        "MOSEI/Processed/aligned_50.pkl",
    "c9e20c13ec0454d98bb9c1e520e490c75146bfa2dfeeea78d84de047dbdd442f":
        "SIMS/Processed/unaligned_39.pkl",
}  # fmt: skip


def release_of(file: Path) -> str:
    """``the MMSA release of MOSI, unaligned_50``; empty for any other file."""
    found = fingerprints.of_file(file)
    for checksum, published in RELEASES.items():
        if checksum.startswith(found):
            path = Path(published)
            return f"the MMSA release of {path.parts[0]}, {path.stem}"
    return ""
