"""Which clips are predicted badly, and what is said in them?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from mmsa_suparc.analysis.chosen import few, finished, unseen
from mmsa_suparc.analysis.clip_table import LONGEST, ClipTable
from mmsa_suparc.analysis.section import Section
from mmsa_suparc.bench.comparisons import error_of
from mmsa_suparc.bench.results import Results
from mmsa_suparc.data.tables import plain_cell

#: How far apart the variants' predictions of a clip lie.
DISAGREEMENT = "disagreement"


def section(results: Results, dataset: str) -> Section | None:
    """There where a variant is done."""
    of = finished(results, dataset)
    if not of:
        return None
    frame = clip_frame(results, dataset, of)
    texts = [name for name in ("id", "words") if name in frame]
    columns = [*texts, "score"]
    shown, which = few(results, dataset, of)
    for variant in shown:
        columns += [f"{variant}: prediction", f"{variant}: error"]
    name, by = f"{dataset}-clips", f"{of[0]}: error"
    notes = [
        f"Score units. Prediction: {unseen(results)}, mean over seeds. Error: mean over seeds of "
        f"its absolute error, so a column's mean is the variant's MAE.{which}",
    ]
    if len(of) > 1:
        columns.append(DISAGREEMENT)
        notes.append(
            f"Disagreement: the largest prediction less the smallest, of all {len(of)} variants."
        )
    if "words" not in frame:
        notes.append("No words: the trainings were done by a version that did not keep them.")
    else:
        notes.append("The words are the data set's: mind its licence before you pass them on.")
        if frame["words"].str.len().max() > LONGEST:
            notes.append(f"Words after the first {LONGEST} characters are in the file alone.")
    title = f"Clips of {dataset}, by the error of {of[0]}"
    return Section(
        f"Clips of {dataset}",
        "What was predicted for each clip: the worst ones, or those that hold a word.",
        clips=ClipTable(name, title, frame, columns, len(texts), by, notes),
    )


def clip_frame(results: Results, dataset: str, variants: list[str]) -> pd.DataFrame:
    """A row a test clip: id, words where they are known, score, and prediction and error of each
    variant, means over seeds; with several variants their disagreement."""
    labels, error = results.labels(dataset), error_of(results, dataset)
    columns: dict[str, object] = {"id": results.known_clips(dataset).scores.index}
    words, means = results.words(dataset), []
    if words is not None:
        columns["words"] = [plain_cell(text) for text in words]
    columns["score"] = labels
    for variant in variants:
        predictions = results.predictions(dataset, variant)
        means.append(predictions.mean(axis=0))
        columns[f"{variant}: prediction"] = means[-1]
        (absolute,) = error.terms(predictions, labels)
        columns[f"{variant}: error"] = absolute.mean(axis=0)
    if len(variants) > 1:
        columns[DISAGREEMENT] = np.ptp(means, axis=0)
    return pd.DataFrame(columns)
