"""A third party's model, as small as the toolkit's interface allows."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class ToyModel(nn.Module):
    """Predicts from the mean audio frame."""

    def __init__(self, args: Any) -> None:
        super().__init__()
        self.linear = nn.Linear(args.feature_dims[1], 1)

    def forward(self, text: Any, audio: Any, vision: Any) -> dict[str, torch.Tensor]:
        return {"M": self.linear(audio.mean(dim=1))}


class ToyTrainer:
    """Two epochs, the toolkit's way."""

    def __init__(self, args: Any) -> None:
        self.args = args

    def do_train(self, model: Any, dataloader: Any, return_epoch_results: bool = False) -> None:
        optimiser = torch.optim.SGD(model.parameters(), lr=self.args.toy_rate)
        for _ in range(2):
            for batch in dataloader["train"]:
                loss = self._loss(model, batch)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            self.do_test(model, dataloader["valid"], mode="VAL")
        torch.save(model.state_dict(), self.args.model_save_path)

    def do_test(self, model: Any, dataloader: Any, mode: str = "VAL") -> dict[str, float]:
        with torch.no_grad():
            losses = [self._loss(model, batch).item() for batch in dataloader]
        return {"MAE": sum(losses) / len(losses), "Loss": sum(losses) / len(losses)}

    @staticmethod
    def _loss(model: Any, batch: Any) -> torch.Tensor:
        out = model(batch["text"], batch["audio"], batch["vision"])["M"]
        return (out - batch["labels"]["M"]).abs().mean()


CONFIG = {"shared": {"toy_rate": 0.01, "batch_size": 8}, "datasets": {"demo": {"toy_rate": 0.02}}}


def register_toy() -> None:
    """What the entry point of an installed package names."""
    import mmsa_suparc

    mmsa_suparc.register_model("toy", ToyModel, ToyTrainer, CONFIG)


SPECIFICATION = {"model": ToyModel, "trainer": ToyTrainer, "config": CONFIG}
#: The same by where it stands in the package that the test installs.
NAMED = {
    "model": "toy_package:ToyModel", "trainer": "toy_package:ToyTrainer", "config": CONFIG,
}  # fmt: skip
