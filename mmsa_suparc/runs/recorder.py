"""Epochs, times and predictions of any trainer of the toolkit, by listening to it."""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from mmsa_suparc.errors import DivergedError, SupArcError
from mmsa_suparc.toolkit.calls import logger
from mmsa_suparc.training.memory import peak_memory

Row = dict[str, Any]


class Recorder:
    """Wraps ``trainer.do_test``, through which every trainer of the toolkit validates.

    Args:
        trainer: has ``args``, ``do_train`` and ``do_test``. One that offers ``on_epoch``
            (SupArc's does) tells its epochs itself.
        epochs: at most so many. The toolkit's trainers know no such number: at the last
            validation their patience is set to 0, so that their own rule ends the training
            after it has saved what is best.
        on_epoch: given each epoch's row.
    """

    def __init__(
        self, trainer: Any, *, epochs: int | None, on_epoch: Callable[[Row], None]
    ) -> None:
        self.trainer = trainer
        self.epochs = epochs
        self.on_epoch = on_epoch
        self.history: list[Row] = []
        self._do_test = trainer.do_test
        self._losses = _LossLines()
        self._best: float | None = None

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        """Within this block each validation is an epoch."""
        if hasattr(self.trainer, "on_epoch"):
            self.trainer.on_epoch = self._record
            yield
            return
        logger.addHandler(self._losses)
        self.trainer.do_test = self._validate
        self._mark = time.perf_counter()
        try:
            yield
        finally:
            self.trainer.do_test = self._do_test
            logger.removeHandler(self._losses)

    def test(
        self, model: nn.Module, dataloader: Any, split: str
    ) -> tuple[dict[str, float], Tensor]:
        """The trainer's metrics on a split, and its predictions (N,) in the split's order."""
        mode = {"valid": "VALID", "test": "TEST"}[split]
        if hasattr(self.trainer, "measure"):
            results, prediction = self.trainer.measure(model, dataloader, mode=mode)
        elif hasattr(self.trainer, "predict"):
            results = self._do_test(model, dataloader, mode=mode)
            prediction = self.trainer.predict(model, dataloader)
        else:
            results, prediction = self._observed(model, dataloader, mode)
        count = len(dataloader.dataset)
        if len(prediction) != count:
            raise SupArcError(
                f"the model gave {len(prediction)} predictions for {count} clips; expected its "
                "forward to return the scores under 'M'"
            )
        return results, prediction

    def _validate(self, model: nn.Module, dataloader: Any, *args: Any, **options: Any) -> Any:
        """Stands in for ``do_test`` while training."""
        started = time.perf_counter()
        mode = options.get("mode", args[0] if args else "VAL")
        results, _ = self._observed(model, dataloader, *args, **options)
        if mode == "VAL":
            finished = time.perf_counter()
            value = results[self.trainer.args["KeyEval"]]
            value = value if self.trainer.args["KeyEval"] == "Loss" else -value
            best = self._best is None or value <= self._best - 1e-6
            if best:
                self._best = value
            self._record(
                {
                    "epoch": len(self.history) + 1,
                    **self._losses.take(),
                    **{f"valid_{name}": float(number) for name, number in results.items()},
                    "train_seconds": started - self._mark,
                    "valid_seconds": finished - started,
                    **peak_memory(torch.device(self.trainer.args["device"])),
                    "best": best,
                }
            )
            if self.epochs is not None and len(self.history) >= self.epochs:
                self.trainer.args["early_stop"] = 0
            self._mark = time.perf_counter()
        return results

    def _observed(
        self, model: nn.Module, dataloader: Any, *args: Any, **options: Any
    ) -> tuple[dict[str, Any], Tensor]:
        """``do_test`` and the scores that the model gave meanwhile."""
        outputs: list[Tensor] = []
        hook = model.register_forward_hook(
            lambda module, inputs, output: outputs.append(_score_of(output))
        )
        try:
            results = self._do_test(model, dataloader, *args, **options)
        finally:
            hook.remove()
        _average_over_clips(results, outputs, dataloader)
        prediction = torch.cat(outputs) if outputs else torch.empty(0)
        wrong = int((~torch.isfinite(prediction)).sum())
        if wrong:
            raise DivergedError(
                f"epoch {len(self.history) + 1}: {wrong} of {len(prediction)} predictions are not "
                "finite; lower the learning rates"
            )
        return results, prediction

    def _record(self, row: Row) -> None:
        self.history.append(row)
        self.on_epoch(row)


def _average_over_clips(results: dict[str, Any], outputs: list[Tensor], dataloader: Any) -> None:
    """Make ``Loss`` the mean over clips; the toolkit averages the means of unequal batches.

    Only where it is recognised as the batch mean of an absolute or squared error of the scores
    (in all single-task trainers it is); another loss is left as it is.
    """
    data: Any = getattr(dataloader, "dataset", ())
    if not outputs or "Loss" not in results or len(data) != sum(map(len, outputs)):
        return
    scores = torch.as_tensor(data.labels["M"], dtype=torch.float32).reshape(-1)
    pairs = list(zip(outputs, scores.split([len(batch) for batch in outputs]), strict=True))
    for error in (nn.functional.l1_loss, nn.functional.mse_loss):
        batch_mean = sum(float(error(batch, true)) for batch, true in pairs) / len(pairs)
        if abs(batch_mean - results["Loss"]) < 1e-4:
            results["Loss"] = round(float(error(torch.cat(outputs), scores)), 4)
            return


def _score_of(output: Any) -> Tensor:
    """The scores (B,) in what one of the toolkit's models returned."""
    if isinstance(output, dict):
        output = output["M"]
    elif isinstance(output, (tuple, list)):  # TFR_NET: scores (B, 1) and a loss
        output = next(part for part in output if isinstance(part, Tensor) and part.ndim == 2)
    score: Tensor = output.detach().float().reshape(-1).cpu()
    return score


class _LossLines(logging.Handler):
    """The training losses that a trainer logs: ``TRAIN-(tfn) … >> loss: 1.2 …``."""

    PATTERN = re.compile(r"(?:(\w+) )?(?:loss|(pred|gen)): (-?[\d.]+|nan|inf)")

    def __init__(self) -> None:
        super().__init__()
        self._losses: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if message.startswith("TRAIN-"):
            for prefix, part, value in self.PATTERN.findall(message.split(">>", 1)[-1]):
                name = prefix or part
                self._losses[f"loss_{name}" if name else "loss"] = float(value)

    def take(self) -> dict[str, float]:
        """The losses since the last call."""
        losses, self._losses = self._losses, {}
        return losses
