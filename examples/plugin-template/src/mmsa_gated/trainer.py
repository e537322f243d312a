"""How it is trained: the toolkit's two methods."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmsa_suparc.metrics import mosi_metrics, sims_metrics


class GatedTrainer:
    """MAE with Adam; the epoch with the lowest validation error is kept.

    Args:
        args: the toolkit's, with the values of ``gated.yaml``.
    """

    def __init__(self, args: Any) -> None:
        self.args = args
        self.metrics = sims_metrics if "sims" in args.dataset_name else mosi_metrics

    def do_train(self, model: Any, dataloader: Any, return_epoch_results: bool = False) -> None:
        """Train on ``train``, choose by ``valid``, save the best weights."""
        optimiser = torch.optim.Adam(model.parameters(), lr=self.args.learning_rate)
        best, waited = float("inf"), 0
        for _ in range(self.args.epochs):
            model.train()
            for batch in dataloader["train"]:
                optimiser.zero_grad()
                prediction, score = self.scores(model, batch)
                (prediction - score).abs().mean().backward()
                optimiser.step()
            loss = self.do_test(model, dataloader["valid"], mode="VAL")["Loss"]
            waited += 1
            if loss < best:
                best, waited = loss, 0
                torch.save(model.state_dict(), self.args.model_save_path)
            if waited == self.args.early_stop:
                break

    @torch.no_grad()
    def do_test(self, model: Any, dataloader: Any, mode: str = "VAL") -> dict[str, float]:
        """The metrics of a split; ``Loss`` is what the epoch is chosen by."""
        model.eval()
        parts = [self.scores(model, batch) for batch in dataloader]
        prediction, score = (torch.cat(part).cpu().numpy() for part in zip(*parts, strict=True))
        return {
            **self.metrics(prediction, score),
            "Loss": float(np.abs(prediction - score).mean()),
        }

    def scores(self, model: Any, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Predictions and scores of a batch, (B,) each."""
        device = self.args.device
        given = {"text": batch["text"].to(device)}
        for name in ("audio", "vision"):
            given[name] = batch[name].to(device)
            if f"{name}_lengths" in batch and not self.args.need_data_aligned:
                given[name] = (given[name], torch.as_tensor(batch[f"{name}_lengths"]))
        prediction = model(given["text"], given["audio"], given["vision"])["M"].view(-1)
        return prediction, batch["labels"]["M"].to(device).view(-1)
