"""What is asked of a trained model beside its metrics: missing modalities, noise, geometry."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pandas as pd

from mmsa_suparc.bench.folder import CellFolder
from mmsa_suparc.data import missing
from mmsa_suparc.data.files import write_atomically, write_text
from mmsa_suparc.data.missing import Inputs
from mmsa_suparc.losses.pairs import cosine
from mmsa_suparc.names import MODALITIES, NESTED_PAIRS, ONE_MASKED, TWO_MASKED
from mmsa_suparc.runs.trained import Trained
from mmsa_suparc.toolkit.features import clips_of
from mmsa_suparc.training import evaluation

RATES = tuple(round(0.1 * step, 1) for step in range(8))  # P2: 0.0 to 0.7
DROPS = tuple(round(0.1 * step, 1) for step in range(10))  # P3: 0.0 to 0.9
NOISES = (0.5, 1.0, 2.0)
#: Of the masks: every model of a benchmark loses the same.
SEED = 2026


def subset_name(kept: tuple[bool, ...] | np.ndarray) -> str:
    """``ta`` for text and audio."""
    return "".join(m[0] for m, here in zip(MODALITIES, kept, strict=True) if here)


def subsets() -> list[tuple[str, ...]]:
    """All seven, by size."""
    return [names for size in (1, 2, 3) for names in combinations(MODALITIES, size)]


def run_probe(name: str, trained: Trained, folder: CellFolder) -> None:
    """Measure on the test split and write ``folder/<name>.csv``; nothing where it is there."""
    target = folder.probe(name)
    if target.is_file():
        return
    if name == "geometry":
        _geometry(trained, folder)
        return
    scenarios = {"missing": _missing, "noise": _noise}[name](trained.inputs("test"))
    ids = trained.ids("test")
    rows = [
        pd.DataFrame(
            {
                "protocol": protocol,
                "level": level,
                "kept": kept,
                "id": ids,
                "prediction": trained.predict("test", inputs),
            }
        )
        for protocol, level, kept, inputs in scenarios
    ]
    write_text(target, pd.concat(rows).to_csv(index=False))


def _missing(inputs: Inputs) -> Iterator[tuple[str, str, list[str], Inputs]]:
    """(protocol, level, what each clip keeps, inputs) of P1, P2 and P3."""
    count = len(inputs)
    for names in subsets():
        kept = missing.subset(count, names)
        yield "P1", subset_name(kept[0]), [subset_name(kept[0])] * count, missing.keep(inputs, kept)
    for rate in RATES:
        kept = missing.random_modalities(count, rate, seed=SEED)
        yield "P2", str(rate), [subset_name(row) for row in kept], missing.keep(inputs, kept)
    for rate in DROPS:
        yield "P3", str(rate), ["tav"] * count, missing.drop_frames(inputs, rate, seed=SEED)


def _noise(inputs: Inputs) -> Iterator[tuple[str, str, list[str], Inputs]]:
    for strength in NOISES:
        changed = missing.add_noise(inputs, strength, seed=SEED)
        yield "noise", str(strength), ["tav"] * len(inputs), changed


def _geometry(trained: Trained, folder: CellFolder) -> None:
    """SupArc's fusion vectors, and how often the modality triplet's order holds.

    ``fusion.npz`` complete vectors of the test clips; ``geometry.csv`` a row a nested pair:
    modalities kept by the one and by the other, and the share of clips whose complete vector is
    closer to the first.
    """
    if not trained.is_suparc:
        write_text(folder.probe("geometry"), "one,two,share\n")
        return
    trainer = trained.trainer
    clips = clips_of(trained.loaders["test"])
    vectors = {}
    for kept in ((True, True, True), *ONE_MASKED, *TWO_MASKED):
        features: dict = {}
        evaluation.predict(
            trained.model.Model, clips, trainer.runtime, present=kept, features=features,
            batch_size=trainer.config.evaluation_batch_size,
        )  # fmt: skip
        vectors[tuple(kept)] = features["Feature_f"]
    whole = vectors[(True, True, True)]
    rows = []
    for one, two in NESTED_PAIRS:
        near = cosine(whole, vectors[tuple(ONE_MASKED[one])])
        far = cosine(whole, vectors[tuple(TWO_MASKED[two])])
        rows.append(
            {
                "one": subset_name(ONE_MASKED[one]),
                "two": subset_name(TWO_MASKED[two]),
                "share": float((near > far).double().mean()),
            }
        )
    ids = np.array(trained.ids("test"))
    write_atomically(folder.fusion, lambda file: np.savez(file, ids=ids, vectors=whole.numpy()))
    write_text(folder.probe("geometry"), pd.DataFrame(rows).to_csv(index=False))
