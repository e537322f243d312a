"""SupArc in the toolkit's clothes: ``args`` in, the toolkit's trainer interface out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmsa_suparc.config import SupArcConfig
from mmsa_suparc.data.batches import Clips
from mmsa_suparc.data.text import loading
from mmsa_suparc.model import SupArc
from mmsa_suparc.toolkit.calls import logger, metrics_of
from mmsa_suparc.toolkit.features import clips_of
from mmsa_suparc.training import diagnosis, evaluation, loop, processes
from mmsa_suparc.training.checkpoint import save_weights
from mmsa_suparc.training.runtime import Runtime
from mmsa_suparc.training.state import StateFolder


def config_of(args: Any) -> SupArcConfig:
    """SupArc's own values among the toolkit's ``args``."""
    return SupArcConfig(**{key: args[key] for key in SupArcConfig.model_fields if key in args})


def build_suparc(args: Any) -> SupArc:
    """The model that ``args`` describe: widths from the data, the rest as configured."""
    from transformers import AutoModel

    config = config_of(args)
    _, audio_width, vision_width = args["feature_dims"]
    with loading(config.pretrained) as options:
        transformer = AutoModel.from_pretrained(config.pretrained, **options)
    return SupArc.from_config(
        config, transformer=transformer, audio_width=audio_width, vision_width=vision_width
    )


class SupArcTrainer:
    """The toolkit's trainer interface over :mod:`mmsa_suparc.training.loop`.

    Args:
        args: the toolkit's; ``device``, ``dataset_name`` and ``model_save_path`` are used
            beside SupArc's own values.

    ``history`` holds a row an epoch after :meth:`do_train`; ``on_epoch`` may be set to a
    function that is given each row as soon as it is there, ``states`` to a folder in which the
    training is saved and from which it goes on, ``should_stop`` to a function asked each step.
    """

    #: See ``registry.AbleTrainer``.
    shares_batches = True
    takes_arrays = True
    leaves_best_weights = True

    def __init__(self, args: Any) -> None:
        self.args = args
        self.config = config_of(args)
        self.runtime = Runtime.choose(torch.device(args["device"]), self.config.precision)
        self._metrics = metrics_of(args["dataset_name"])
        self.history: list[dict[str, Any]] = []
        self.on_epoch: Callable[[dict[str, Any]], None] = lambda row: None
        self.states: StateFolder | None = None
        self.should_stop: Callable[[], bool] = lambda: False

    def do_train(
        self, model: nn.Module, dataloader: dict[str, Any], return_epoch_results: bool = False
    ) -> dict[str, list[dict[str, float]]] | None:
        """Train on ``train``, select by ``valid``; the best weights are in ``model``, and in
        ``args.model_save_path`` where there are no ``states``, which hold them.

        Returns:
            With ``return_epoch_results``, the metrics of every epoch by split, as the
            toolkit's trainers give them (``test`` only after training: it selects nothing).
        """
        self.history = []
        result = loop.fit(
            _network(model),
            clips_of(dataloader["train"]),
            clips_of(dataloader["valid"]),
            self.config,
            runtime=self.runtime,
            metrics=self._measure,
            seed=torch.initial_seed() % 2**31,
            on_best=lambda weights: self._save(model, weights),
            on_epoch=self._record,
            states=self.states,
            should_stop=self.should_stop,
        )
        assert result.best_weights is not None
        _network(model).load_state_dict(result.best_weights)
        if not return_epoch_results:
            return None
        return {
            "train": [{"Loss": row["loss_mae"]} for row in self.history],
            "valid": [
                {k.removeprefix("valid_"): v for k, v in row.items() if _is_metric(k)}
                for row in self.history
            ],
            "test": [self.do_test(model, dataloader["test"], mode="TEST")],
        }

    def do_test(
        self,
        model: nn.Module,
        dataloader: Any,
        mode: str = "VAL",
        return_sample_results: bool = False,
    ) -> dict[str, Any]:
        """The toolkit's metrics and ``Loss`` on a split; with ``return_sample_results`` also
        ``Ids``, ``SResults``, ``Labels`` and ``Features``."""
        features: dict[str, Tensor] | None = {} if return_sample_results else None
        results, prediction, clips = self._tested(model, dataloader, mode, features)
        if features is not None:
            results["Ids"] = list(dataloader.dataset.ids)
            results["SResults"] = prediction.numpy()
            results["Labels"] = clips.scores.tolist()
            results["Features"] = {name: value.numpy() for name, value in features.items()}
        return results

    def measure(
        self, model: nn.Module, dataloader: Any, mode: str = "VAL"
    ) -> tuple[dict[str, Any], Tensor]:
        """What :meth:`do_test` and :meth:`predict` give, of one pass over the split."""
        return self._tested(model, dataloader, mode)[:2]

    def predict(self, model: nn.Module, dataloader: Any) -> Tensor:
        """Scores (N,) in the order of the split."""
        return self._scores(model, clips_of(dataloader))

    def diagnose(self, model: nn.Module, dataloader: Any) -> dict[str, Any]:
        """What the losses do to the clips of a split; see :mod:`training.diagnosis`."""
        return diagnosis.diagnose(_network(model), clips_of(dataloader), self.config, self.runtime)

    def _tested(
        self,
        model: nn.Module,
        dataloader: Any,
        mode: str,
        features: dict[str, Tensor] | None = None,
    ) -> tuple[dict[str, Any], Tensor, Clips]:
        """Metrics and scores of a split, and its clips."""
        clips = clips_of(dataloader)
        prediction = self._scores(model, clips, features)
        results: dict[str, Any] = dict(evaluation.evaluate(prediction, clips.scores, self._measure))
        logger.info("%s-(%s) >> %s", mode, self.args["model_name"], results)
        return results, prediction, clips

    def _scores(
        self, model: nn.Module, clips: Clips, features: dict[str, Tensor] | None = None
    ) -> Tensor:
        size = self.config.evaluation_batch_size
        return evaluation.predict(
            _network(model), clips, self.runtime, batch_size=size, features=features
        )

    def _measure(self, prediction: Tensor, scores: Tensor) -> dict[str, float]:
        measured: dict[str, float] = self._metrics(prediction, scores)
        return measured

    def _save(self, model: nn.Module, weights: dict[str, Tensor]) -> None:
        if self.states is not None or not processes.is_main():
            return
        prefix = "" if _network(model) is model else "Model."
        named = {prefix + name: tensor for name, tensor in weights.items()}
        save_weights(Path(self.args["model_save_path"]), named)

    def _record(self, row: dict[str, Any]) -> None:
        self.history.append(row)
        logger.info("TRAIN-(%s) >> %s", self.args["model_name"], row)
        self.on_epoch(row)


def _network(model: nn.Module) -> SupArc:
    """The SupArc inside the toolkit's AMIO."""
    inner: Any = getattr(model, "Model", model)
    network: SupArc = inner
    return network


def _is_metric(column: str) -> bool:
    return column.startswith("valid_") and column != "valid_seconds"
