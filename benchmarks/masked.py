"""How large should ``weight_masked`` be? Cross-validation over videos.

  python benchmarks/masked.py --features MOSI/Processed/unaligned_50.pkl --text-encoder FOLDER \\
      --out DIR

The training and validation clips are cut into five folds of whole videos; a fold is scored by
models that were trained on three others and whose epoch was chosen by the fourth. The test split
is not touched. A training that is done is kept, so the same command goes on.

Rule, written before the first run: of the weights whose MAE on complete clips is not worse than
without the term beyond noise (95% interval over videos), the one with the lowest mean MAE over the
six incomplete subsets.
"""

from __future__ import annotations

import argparse
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import mmsa_suparc
from mmsa_suparc.bench.probes import subset_name, subsets
from mmsa_suparc.config import Layer
from mmsa_suparc.data import missing, reader, schema
from mmsa_suparc.runs.request import Request
from mmsa_suparc.runs.run import run
from mmsa_suparc.runs.trained import load_trained
from mmsa_suparc.toolkit import settings

FOLDS = 5
SEEDS = (1, 2)
VARIANTS = {
    "weight_masked=0": {"weight_masked": 0.0},
    "weight_masked=0.1": {"weight_masked": 0.1},
    "weight_masked=0.3": {"weight_masked": 0.3},
    "weight_masked=1": {"weight_masked": 1.0},
    "mask_rate=0.3": {"weight_masked": 0.0, "mask_rate": 0.3},
}
RESAMPLES = 5_000


def video_of(clip: str) -> str:
    return clip.split("$_$")[0]


def write_folds(source: Path, out: Path) -> list[Path]:
    """A feature file a fold: it is the test split, the next fold the validation split."""
    content = schema.normalised(reader.read(source))
    both = {
        name: np.concatenate([np.asarray(content[split][name]) for split in ("train", "valid")])
        for name in schema.NUMBERS.keys() | set(schema.STRINGS)
        if name in content["train"]
    }
    videos = np.array([video_of(str(clip)) for clip in both["id"]])
    names = np.unique(videos)
    np.random.default_rng(0).shuffle(names)
    fold_of = {name: place % FOLDS for place, name in enumerate(names)}
    folds = np.array([fold_of[video] for video in videos])
    paths = []
    for fold in range(FOLDS):
        test, valid = folds == fold, folds == (fold + 1) % FOLDS
        split = {"train": ~(test | valid), "valid": valid, "test": test}
        paths.append(out / f"fold-{fold}.pkl")
        if not paths[-1].is_file():
            parts = {name: {k: v[rows] for k, v in both.items()} for name, rows in split.items()}
            paths[-1].write_bytes(pickle.dumps(parts))
    return paths


def measure(features: Path, encoder: str, out: Path, variant: str, seed: int) -> pd.DataFrame:
    """Train on a fold's file, or take what is there; a row a clip of its test split and subset."""
    folder = out / f"{features.stem}-{variant}-{seed}"
    values = {**VARIANTS[variant], "featurePath": str(features), "pretrained": encoder}
    config = settings.load("suparc", "mosi", overrides=[Layer("study", values)])
    run(Request(config, (seed,), folder, torch.device("cpu"), folder / "toolkit", resume=True))
    trained = load_trained(folder, seed)
    data, inputs = trained.loaders["test"].dataset, trained.inputs("test")
    rows = []
    for names in subsets():
        kept = missing.subset(len(inputs), names)
        prediction = trained.predict("test", missing.keep(inputs, kept))
        rows.append(
            pd.DataFrame(
                {
                    "variant": variant, "seed": seed, "subset": subset_name(kept[0]),
                    "id": [str(clip) for clip in data.ids],
                    "error": np.abs(prediction - np.asarray(data.labels["M"]).reshape(-1)),
                }
            )
        )  # fmt: skip
    return pd.concat(rows)


def difference(errors: pd.DataFrame, variant: str, reference: str) -> tuple[float, float, float]:
    """Mean error of a variant less the reference's, and its 95% interval over videos."""
    by_clip = errors.groupby(["variant", "id"])["error"].mean()
    gain = by_clip[variant] - by_clip[reference]
    videos = gain.groupby(lambda clip: video_of(clip)).agg(["sum", "count"]).to_numpy()
    chance = np.random.default_rng(0)
    drawn = videos[chance.integers(0, len(videos), (RESAMPLES, len(videos)))].sum(axis=1)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
    return float(gain.mean()), float(low), float(high)


def tell(found: pd.DataFrame) -> None:
    """The table, for whole and for incomplete clips."""
    reference = next(iter(VARIANTS))
    whole = found["subset"] == "tav"
    print("| variant | complete | less reference | incomplete | less reference |")
    print("| --- | --- | --- | --- | --- |")
    for variant in found["variant"].unique():
        cells = []
        for part in (found[whole], found[~whole]):
            mean = part.loc[part["variant"] == variant, "error"].mean()
            value, low, high = difference(part, variant, reference)
            cells += [f"{mean:.4f}", f"{value:+.4f} [{low:+.4f}, {high:+.4f}]"]
        print(f"| {variant} | {' | '.join(cells)} |")
    print(f"\n{found['id'].nunique()} clips, MAE; intervals over videos.", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("--features", "--text-encoder", "--out"):
        parser.add_argument(name, required=True)
    options = parser.parse_args()
    out = Path(options.out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    mmsa_suparc.register()
    paths = write_folds(Path(options.features), out)
    found: list[pd.DataFrame] = []
    for seed in SEEDS:
        for path in paths:
            for variant in VARIANTS:
                found.append(measure(path, options.text_encoder, out, variant, seed))
                print(f"{path.stem}, seed {seed}, {variant}: done", flush=True)
        table = pd.concat(found)
        table.to_csv(out / "errors.csv", index=False)
        tell(table)


if __name__ == "__main__":
    main()
