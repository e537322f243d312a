"""What is measured in processes of their own, for the memory that each takes."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from figures import row

LOSS_BATCHES = (64, 256, 1024, 4096)

#: The largest memory of a process so far, in KiB; ``ru_maxrss`` starts with its parent's.
PEAK = """
def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
"""


def loss_in_a_process(which: str, batch: int) -> tuple[float, float]:
    """Median milliseconds and peak MiB of a loss's forward and backward pass."""
    program = f"""
import statistics, time, torch
{PEAK}
generator = torch.Generator().manual_seed(0)
features = torch.randn({batch}, 128, generator=generator, requires_grad=True)
scores = torch.rand({batch}, generator=generator) * 6 - 3
if {which!r} == "ours":
    from mmsa_suparc.losses import SupArcLoss
    loss = SupArcLoss()
else:
    from pytorch_metric_learning.losses import SupConLoss
    loss, scores = SupConLoss(), scores.round().long()
loss(features[:8], scores[:8]).backward()
before = peak()
times = []
for _ in range({20 if batch < 1000 else 7}):
    started = time.perf_counter()
    loss(features, scores).backward()
    times.append(time.perf_counter() - started)
print(statistics.median(times) * 1000, (peak() - before) / 1024)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    milliseconds, mebibytes = map(float, done.stdout.split())
    return milliseconds, mebibytes


def losses() -> list[str]:
    """SupArcLoss against pytorch-metric-learning's SupConLoss: medians of five processes each."""
    rows = []
    for batch in LOSS_BATCHES:
        pairs = [
            (loss_in_a_process("ours", batch), loss_in_a_process("theirs", batch)) for _ in range(5)
        ]
        ours, theirs = (
            [statistics.median(figures) for figures in zip(*side, strict=True)]
            for side in zip(*pairs, strict=True)
        )
        shown = f"{ours[0]:.1f} ms / {theirs[0]:.1f} ms"
        rows.append(row(f"loss, batch {batch}: time", shown, ours[0] / theirs[0], "≤ 1.0"))
        if batch >= 4096:  # below that the peak is that of the libraries
            shown = f"{ours[1]:.0f} MiB / {theirs[1]:.0f} MiB"
            rows.append(row(f"loss, batch {batch}: memory", shown, ours[1] / theirs[1], "≤ 1.0"))
    return rows


OPEN_A_FILE = f"""
import json, sys, time
{PEAK}
which, path, encoder = sys.argv[1:]
import MMSA.run, transformers
if which != "toolkit":
    import mmsa_suparc
    mmsa_suparc.register()
    from mmsa_suparc.data import reader, schema
    from mmsa_suparc.toolkit.features import clips_of
run = sys.modules["MMSA.run"]
args = run.get_config_regression("self_mm" if which == "toolkit" else "suparc", "mosi")
args.update(device="cpu", train_mode="regression", custom_feature=None, feature_T="",
            feature_A="", feature_V="", featurePath=path, cur_seed=1, use_bert=True,
            need_data_aligned=False, pretrained=encoder)
if which != "toolkit":  # libraries that a run has loaded anyway
    transformers.AutoTokenizer.from_pretrained(encoder), mmsa_suparc.SupArcTrainer
before = peak()
started = time.perf_counter()
if which == "toolkit":
    run.MMDataLoader(args, 0)
    opened = written = time.perf_counter()
else:
    with reader.reading_once():
        assert not schema.check(reader.read(path), schema.Rules())
        for loader in run.MMDataLoader(args, 0).values():
            clips_of(loader)
        opened = time.perf_counter()
    written = time.perf_counter()
print(json.dumps([opened - started, written - started, (peak() - before) / 1024]))
"""


def loading(options: argparse.Namespace, scratch: Path) -> list[str]:
    """Opening a MOSEI-shaped file, checked and ready to train, against ``MMDataLoader``."""
    from mmsa_suparc.data.demo import SHAPES, make_demo

    shape = replace(
        SHAPES["mosei"], audio_frames=options.frames, vision_frames=options.frames, text_width=128
    )
    demo = make_demo(scratch / "mosei", shape)

    def opened(which: str) -> list[float]:
        demo.features.read_bytes()  # into the system's cache of files, for both alike
        done = subprocess.run(
            [sys.executable, "-c", OPEN_A_FILE, which, str(demo.features), str(demo.encoder)],
            capture_output=True, text=True, check=True,
            env={**os.environ, "MMSA_SUPARC_CACHE": str(scratch / "cache")},
        )  # fmt: skip
        figures: list[float] = json.loads(done.stdout.splitlines()[-1])
        return figures

    rounds = []
    for _ in range(options.repeats):
        shutil.rmtree(scratch / "cache", ignore_errors=True)
        rounds.append([opened(which) for which in ("toolkit", "cold", "warm")])
    toolkit, cold, warm = (
        [statistics.median(figures) for figures in zip(*each, strict=True)]
        for each in zip(*rounds, strict=True)
    )
    size = demo.features.stat().st_size / 2**30
    name = f"opening {size:.1f} GiB"
    later = f"; written to the cache meanwhile: {cold[1]:.1f} s"
    shown = f"{cold[0]:.2f} s / {toolkit[0]:.2f} s{later}"
    peak = max(cold[2], warm[2])
    return [
        row(f"{name}, cold: time", shown, cold[0] / toolkit[0], "≤ 0.35"),
        row(f"{name}, warm: time", f"{warm[0]:.2f} s", warm[0] / toolkit[0], "≤ 0.02"),
        row(f"{name}: memory", f"{peak:.0f} / {toolkit[2]:.0f} MiB", peak / toolkit[2], "≤ 0.5"),
    ]
