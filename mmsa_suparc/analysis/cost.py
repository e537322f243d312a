"""What does it cost? Parameters, time and memory of each variant's trainings."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np

from mmsa_suparc.analysis.section import Section
from mmsa_suparc.bench.costs import COSTS
from mmsa_suparc.bench.results import CellResult, Results
from mmsa_suparc.bench.tables import Entry, Table

#: How a column is called, and how many decimals it has.
COLUMNS = {
    "trainable_parameters": ("trainable parameters", 0),
    "epoch_seconds": ("seconds an epoch", 2),
    "train_clips_per_second": ("clips/s, training", 0),
    "valid_clips_per_second": ("clips/s, validation", 0),
    "peak_process_mib": ("process, peak MiB", 0),
    "peak_gpu_mib": ("GPU, peak MiB", 0),
}
NOTES = (
    "Medians over trainings (seeds and folds). Trainable parameters: whatever a gradient may reach "
    "when the training begins. Seconds an epoch: its pass over the training clips, the median "
    "epoch's; of a training that was stopped and went on, each epoch as the process that finished "
    "it timed it. Validation: prediction and metrics of the validation clips, as after each epoch. "
    "Peak memory by the end of the training: of the process, what it held in RAM with its "
    "libraries and data; on the GPU, what torch allocated for tensors. –: not recorded."
)


def section(results: Results, dataset: str) -> Section | None:
    """There where a training told anything of it."""
    done = [one for one in results.cells if one.record and one.cell.dataset == dataset]
    told = [name for name in COSTS if any(math.isfinite(one.costs[name]) for one in done)]
    if not told:
        return None
    # On the CPU nobody asks for the GPU; the other columns are always there.
    shown = [name for name in COSTS if name in told or name != "peak_gpu_mib"]
    table = Table(
        f"{dataset}-cost", f"Cost of a training on {dataset}",
        ["variant", "trainings", *(COLUMNS[name][0] for name in shown)],
        notes=[NOTES, _circumstances(done)],
    )  # fmt: skip
    for variant in results.plan.variants:
        cells = [one for one in done if one.cell.variant == variant]
        if cells:
            medians = [_median([one.costs[name] for one in cells], COLUMNS[name][1])
                       for name in shown]  # fmt: skip
            table.rows.append([Entry(variant), Entry(str(len(cells)), len(cells)), *medians])
    return Section(
        f"Cost on {dataset}",
        "What a training of each variant takes, beside what it gives.",
        [table],
    )


def _median(values: Sequence[float], decimals: int) -> Entry:
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return Entry("–")
    found = float(np.median(known))
    return Entry(f"{found:,.{decimals}f}", found)


def _circumstances(cells: Sequence[CellResult]) -> str:
    """What the times hold for, as far as it was recorded."""
    at_once = {count for one in cells if (count := one.folder.at_once()) is not None}
    environments = [one.environment() for one in cells]
    threads = {int(one["threads"]) for one in environments if "threads" in one}
    devices = {str(one["device_name"]) for one in environments if "device_name" in one}
    return (
        f"Times were measured with {_range(at_once)} trainings at a time, {_range(threads)} "
        f"threads each, on {' and '.join(sorted(devices)) or 'a machine that was not recorded'}, "
        "beside whatever else ran there: they compare within this benchmark only."
    )


def _range(counts: Collection[int]) -> str:
    """``2``, ``1 to 4``, or that it was not recorded."""
    ends = sorted({min(counts), max(counts)}) if counts else []
    return " to ".join(map(str, ends)) or "an unknown number of"
