"""What saving costs: the time of a training that goes into it, and memory beyond the training's.

Rows of ``make bench``'s table; ``python benchmarks/state.py`` prints them alone.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from figures import row

#: Text encoders: what they are called, and their widths in transformers' words.
SIZES: dict[str, dict[str, int]] = {
    "MiniLM": {
        "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12,
        "intermediate_size": 1536,
    },
    "BERT-base": {},
}  # fmt: skip
EPOCHS = 4


def states() -> list[str]:
    """A state of each size: how long the training stands still for it, how long the thread writes,
    and the extra memory at its peak, as a share of the state."""
    return [_state(name, widths) for name, widths in SIZES.items()]


def _state(name: str, widths: dict[str, int]) -> str:
    import torch
    from transformers import BertConfig, BertModel

    from mmsa_suparc.training.saving import Saving
    from mmsa_suparc.training.state import StateFolder, capture

    model = BertModel(BertConfig(**widths))
    optimiser = torch.optim.AdamW(model.parameters(), fused=True)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1.0)
    best = {key: tensor.detach().clone() for key, tensor in model.state_dict().items()}
    state = capture(model, optimiser, schedule, None, best, {"best_epoch": 1})
    size = sum(t.numel() * t.element_size() for t in state.tensors.values())
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
    before = _status("VmRSS")
    with tempfile.TemporaryDirectory() as folder:
        with Saving(StateFolder(Path(folder), {}), 1) as saving:
            for epoch in range(1, EPOCHS + 1):
                saving.keep(epoch, lambda: state)
                time.sleep(0.1)
        copied, written = saving.seconds
    extra = _status("VmHWM") - before
    shown = (
        f"{size / 2**20:.0f} MiB: still {copied / EPOCHS:.2f} s and written in "
        f"{written / EPOCHS:.2f} s an epoch, {extra / 2**20:.0f} MiB extra"
    )
    return row(f"saving a {name}-sized state", shown, extra / size, "≤ 1.3")


def _status(name: str) -> int:
    """Bytes, by the kernel's word."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


def share_of_training(trainer: Any, model: Any, loaders: Any, folder: Path) -> list[str]:
    """The share of a training's time that saving takes, writing beside it counted in full.

    Args:
        trainer: SupArc's, with the epochs that it is to train.
        model: the toolkit's, with a SupArc inside.
        loaders: by split.
        folder: where the states go.
    """
    from mmsa_suparc.training import loop, saving
    from mmsa_suparc.training.state import StateFolder

    kept: list[saving.Saving] = []

    class Kept(saving.Saving):
        def __enter__(self) -> saving.Saving:
            kept.append(self)
            return super().__enter__()

    real, loop.Saving = loop.Saving, Kept  # type: ignore[misc]
    try:
        trainer.states = StateFolder(folder, {})
        started = time.perf_counter()
        trainer.do_train(model, loaders)
        seconds = time.perf_counter() - started
    finally:
        loop.Saving = real  # type: ignore[misc]
    still, written = kept[0].seconds
    shown = (
        f"{len(trainer.history)} epochs {seconds:.1f} s: still {still:.2f} s, "
        f"writing beside it {written:.2f} s"
    )
    return [row("saving, share of the time", shown, (still + written) / seconds, "≤ 0.1")]


if __name__ == "__main__":
    states()
