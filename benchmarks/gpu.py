"""How fast on a GPU: ``make bench-gpu`` writes a table into benchmarks/RESULTS-GPU.md.

A BERT-base-sized encoder with random weights, clips of MOSI's shape, the embedded vocabulary: no
download is needed. ``--device cpu --layers 1 --clips 64`` tries the program out anywhere.
"""

from __future__ import annotations

import argparse
import json
import pickle
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import speed
import torch
from figures import median_seconds, row
from state import states

ROOT = Path(__file__).resolve().parents[1]
#: Dense bf16 or fp16 products of a card, in TFLOP/s, by its name: the makers' data sheets.
PEAKS = {"H200": 989, "H100": 989, "A100": 312, "L40": 181, "L4": 121, "V100": 125, "T4": 65}


def waited(device: torch.device, function: Callable[[], object]) -> Callable[[], None]:
    """The function, and all that it asked of the device."""

    def run() -> None:
        function()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return run


def make_data(folder: Path, options: argparse.Namespace) -> tuple[Path, Path]:
    """A data root and an encoder folder: the embedded set's words, MOSI's shape, BERT's size."""
    from transformers import AutoTokenizer, BertConfig, BertModel

    from mmsa_suparc.data.demo import feature_file, make_demo

    demo = make_demo()
    encoder = folder / "encoder"
    tokenizer = AutoTokenizer.from_pretrained(demo.encoder)
    tokenizer.save_pretrained(encoder)
    config = BertConfig(
        vocab_size=30_522, hidden_size=options.width, num_hidden_layers=options.layers,
        num_attention_heads=options.width // 64, intermediate_size=4 * options.width,
    )  # fmt: skip
    BertModel(config).save_pretrained(encoder)
    content = feature_file({"train": options.clips, "valid": 64, "test": options.clips})
    for fields in content.values():
        del fields["text"]
    path = folder / "MOSI" / "Processed" / "unaligned_50.pkl"
    path.parent.mkdir(parents=True)
    path.write_bytes(pickle.dumps(content))
    return folder, encoder


def parts_of_a_step(setting: Any, device: torch.device, repeats: int) -> list[str]:
    """Milliseconds of a steady step, part by part; each waited for."""
    from mmsa_suparc.runs.trainer import config_of
    from mmsa_suparc.toolkit.features import clips_of
    from mmsa_suparc.training import loop

    config, runtime = config_of(setting.args), setting.trainer.runtime
    train = clips_of(setting.loaders["train"])
    training = loop.Training(setting.model.Model, train, config, runtime, 1)
    places = torch.arange(min(config.batch_size, len(train)))
    batch = training.train.take(places).map(lambda tensor: tensor.to(device))
    model, step = training.model.train(), training.plain_step
    with runtime.autocast():
        encodings = step.encode(batch)

    def text() -> None:
        with runtime.autocast():
            model.text_encoder(batch.text, batch.layout.packing)

    def frames() -> None:
        model.audio_encoder(batch.audio, batch.audio_lengths, batch.layout.audio_lengths)
        model.vision_encoder(batch.vision, batch.vision_lengths, batch.layout.vision_lengths)

    def losses() -> None:
        with runtime.autocast():
            step.losses(encodings, batch.scores, len(batch))

    def there_and_back() -> None:
        with runtime.autocast():
            total, _ = step(batch)
        total.backward()

    def update() -> None:
        training._update()

    named = {
        "batch": lambda: training.train.take(places), "text, forward": text,
        "audio and vision, forward": frames, "fusion and losses, forward": losses,
        "forward and backward": there_and_back, "clip and optimiser": update,
    }  # fmt: skip
    seconds = median_seconds(*(waited(device, f) for f in named.values()), repeats=repeats)
    whole = seconds[-1] + seconds[-2]
    training.close()
    return [
        row(f"step of {len(places)}: {name}", f"{s * 1000:.2f} ms", s / whole, "")
        for name, s in zip(named, seconds, strict=True)
    ]


def share_of_peak(setting: Any, seconds: float, tokens: int, device: torch.device) -> list[str]:
    """Of an epoch, the products of the encoder that are needed against those that the card can do
    in the time: 6 FLOP a weight and token, the table of words left out."""
    model = setting.model.Model.text_encoder.transformer
    weights = sum(p.numel() for n, p in model.named_parameters() if "embeddings" not in n)
    done = 6 * weights * tokens / seconds / 1e12
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    peak = next((peak for card, peak in PEAKS.items() if card in name), None)
    shown = f"{done:.2f} TFLOP/s of {f'{peak} TFLOP/s' if peak else 'an unknown peak'} ({name})"
    return [row("encoder's products", shown, done / peak if peak else float("nan"), "")]


def measure(options: argparse.Namespace, scratch: Path) -> list[str]:
    """All rows."""
    import mmsa_suparc

    mmsa_suparc.register()
    device = torch.device(options.device)
    root, encoder = make_data(scratch, options)
    options.data_root, options.text_encoder = str(root), str(encoder)
    rows = speed.epochs(options, "mosi", scratch, frozen=False)
    suparc = speed.Setting("suparc", "mosi", options, epochs=1)
    started = time.perf_counter()
    seconds = suparc.epoch_seconds(scratch)
    print(json.dumps({"epoch": seconds, "with validation": time.perf_counter() - started}))
    data = suparc.loaders["train"].dataset
    tokens = int(data.text[:, 1].sum())
    rows.append(row("training", f"{len(data) / seconds:.0f} clips a second", 1.0, ""))
    rows += share_of_peak(suparc, seconds, tokens, device)
    rows += parts_of_a_step(suparc, device, options.repeats)
    rows += speed.inference(options, "mosi")
    rows += states()
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--width", type=int, default=768, help="of the encoder: 64 a head")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--clips", type=int, default=1284)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", default=str(ROOT / "benchmarks" / "RESULTS-GPU.md"))
    options = parser.parse_args(arguments)
    if options.device != "cpu" and not torch.cuda.is_available():
        parser.error("no CUDA device here; expected one, or --device cpu to try this program out")
    print("| what | measured | ratio | goal |\n|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        rows = measure(options, Path(scratch))
    name = torch.cuda.get_device_name() if options.device != "cpu" else speed.machine()
    Path(options.out).write_text(
        f"# Speed on a GPU\n\n`make bench-gpu` on {date.today()}: {name}, torch "
        f"{torch.__version__}. An encoder of {options.layers} layers, {options.width} wide, random "
        f"weights; {options.clips} made clips, batch size {options.batch_size}; medians of "
        f"{options.repeats}. Of the parts of a step the ratio is their share of forward, backward "
        "and update.\n\n| what | measured | ratio | goal |\n|---|---|---|---|\n"
        + "\n".join(rows) + "\n"
    )  # fmt: skip
    print(f"written: {options.out}")


if __name__ == "__main__":
    main()
