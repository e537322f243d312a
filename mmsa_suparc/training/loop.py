"""The training loop, read from top to bottom."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import inf, isfinite
from typing import Any

import torch
from torch import Tensor, nn

from mmsa_suparc.config import SupArcConfig
from mmsa_suparc.data.batches import Clips, batch_places, places_by_length
from mmsa_suparc.errors import ConfigError, DivergedError, StoppedError
from mmsa_suparc.losses import ModalityTripletLoss, Objective, RankNContrastLoss, SupArcLoss
from mmsa_suparc.losses.rank_n_contrast import Similarity
from mmsa_suparc.model import SupArc
from mmsa_suparc.names import METRICS
from mmsa_suparc.progress import progress
from mmsa_suparc.training import processes
from mmsa_suparc.training.runtime import Runtime
from mmsa_suparc.training.state import StateFolder, capture, restore
from mmsa_suparc.training.step import TrainingStep, backward_in_parts

Row = dict[str, Any]
Weights = dict[str, Tensor]
#: Evaluates a model: (predictions (N,), scores (N,)) -> the toolkit's metrics by name.
MetricsFunction = Callable[[Tensor, Tensor], dict[str, float]]


@dataclass
class Fit:
    """What training leaves: a row an epoch, and the best epoch with its weights."""

    history: list[Row] = field(default_factory=list)
    best_epoch: int = 0
    best_weights: Weights | None = None


def fit(
    model: SupArc,
    train: Clips,
    valid: Clips,
    config: SupArcConfig,
    *,
    runtime: Runtime,
    metrics: MetricsFunction,
    seed: int,
    on_best: Callable[[Weights], None] = lambda weights: None,
    on_epoch: Callable[[Row], None] = lambda row: None,
    states: StateFolder | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Fit:
    """Train; the epoch with the best validation ``KeyEval`` wins.

    Several processes (``torchrun``, ``accelerate launch``) each call this with the same
    arguments and share every batch; all get the same result.

    Args:
        model: already on ``runtime.device``.
        train: clips to learn from.
        valid: clips that select the epoch and stop the training; nothing else does.
        config: the numbers.
        runtime: device and precision.
        metrics: the toolkit's, for this data set.
        seed: of the order of the clips.
        on_best: called with the weights (on the CPU) each time validation improves.
        on_epoch: called with the epoch's row: ``epoch``, ``loss`` and ``loss_<term>``,
            ``valid_<metric>``, ``learning_rate``, ``train_seconds``, ``valid_seconds``, ``best``.
        states: where the full state is saved after each epoch, and from where the training goes
            on if there is one.
        should_stop: asked after each step; True ends the training with
            :class:`StoppedError`, after which the last epoch's state serves to go on.

    Raises:
        StoppedError: it was asked to stop.
        DivergedError: a loss that is not finite, named by epoch, step and term; or no epoch
            with a finite validation metric.
    """
    accelerator = runtime.accelerator()
    objective = make_objective(config).to(runtime.device)
    plain_step = TrainingStep(model, objective, mask_rate=config.mask_rate)
    optimiser = make_optimiser(model, config, runtime)
    batch_size = contrastive_batch_size(config)
    count = -(-len(train) // batch_size)
    steps = -(-count // config.accumulation) * config.epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: warm_up_then_decay(step, steps, config.warmup)
    )
    prepared_step, prepared_optimiser = accelerator.prepare(plain_step, optimiser)
    if config.compile:
        model.text_encoder.transformer.compile(dynamic=True)
    if not config.use_finetune:
        train, valid = (encode_text(model, clips, runtime) for clips in (train, valid))
    result = Fit()
    saved = processes.from_main(states.load() if states else None)
    if saved is not None:
        result.best_weights = restore(saved, model, optimiser, schedule, accelerator.scaler)
        result.history = saved.numbers["history"]
        result.best_epoch = saved.numbers["best_epoch"]
        if result.best_weights is not None:
            on_best(result.best_weights)
        for earlier in result.history:
            on_epoch(earlier)
    best = min((_key(row, config.KeyEval) for row in result.history if row["best"]), default=inf)

    for epoch in range(len(result.history) + 1, config.epochs + 1):
        if epoch - result.best_epoch > config.early_stop:
            break
        started = time.perf_counter()
        order = torch.Generator().manual_seed(seed * 100_003 + epoch)
        if processes.count() > 1:  # dropout of their own
            torch.manual_seed((seed * 100_003 + epoch) * processes.count() + processes.number())
        sums: dict[str, float] = {}
        model.train()
        shuffled = batch_places(
            train, batch_size, generator=order, by_length=config.bucket_by_length
        )
        for step, places in enumerate(progress(shuffled, f"epoch {epoch}"), start=1):
            # The last group of an epoch may be smaller than the others.
            group_start = (step - 1) // config.accumulation * config.accumulation
            weight = 1.0 / min(config.accumulation, count - group_start)
            ends_group = step % config.accumulation == 0 or step == count
            if batch_size > config.batch_size:
                parts = [
                    train.take(some).map(runtime.to_device)
                    for some in places.split(config.batch_size)
                ]
                total, terms = backward_in_parts(plain_step, parts, runtime, accelerator, weight)
            else:
                batch = train.take(processes.part_of(places)).map(runtime.to_device)
                together = (
                    contextlib.nullcontext() if ends_group else accelerator.no_sync(prepared_step)
                )
                with together:
                    total, terms = prepared_step(batch, len(places))
                    # DDP averages over the processes; each holds its part of a sum.
                    accelerator.backward(total * (weight * processes.count()))
            values = {"loss": total.item(), **{f"loss_{k}": v.item() for k, v in terms.items()}}
            if not all(map(isfinite, values.values())):
                raise _diverged(model, train.take(places), runtime, values, epoch, step)
            if ends_group:
                norm = accelerator.clip_grad_norm_(model.parameters(), config.clip_norm or inf)
                if accelerator.scaler is None and not isfinite(norm):
                    raise DivergedError(
                        f"epoch {epoch}, step {step}: the gradient is {norm.item()}; "
                        "lower the learning rates"
                    )
                prepared_optimiser.step()
                schedule.step()
                prepared_optimiser.zero_grad(set_to_none=True)
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + value * len(places)
            if processes.any_of(should_stop()):
                raise StoppedError(f"stopped in epoch {epoch}, step {step}")
        trained = time.perf_counter()

        prediction = predict(model, valid, runtime, batch_size=config.batch_size)
        measured = evaluate(prediction, valid.scores, metrics)
        row: Row = {
            "epoch": epoch,
            **{name: value / len(train) for name, value in sums.items()},
            **{f"valid_{name}": value for name, value in measured.items()},
            "learning_rate": schedule.get_last_lr()[-1],
            "train_seconds": trained - started,
            "valid_seconds": time.perf_counter() - trained,
        }
        row["best"] = _key(row, config.KeyEval) < best - 1e-6
        if row["best"]:
            best, result.best_epoch = _key(row, config.KeyEval), epoch
            result.best_weights = {
                name: tensor.detach().to("cpu", copy=True)
                for name, tensor in model.state_dict().items()
            }
            on_best(result.best_weights)
        result.history.append(row)
        if states is not None:
            numbers = {"history": result.history, "best_epoch": result.best_epoch}
            state = capture(
                model, optimiser, schedule, accelerator.scaler, result.best_weights, numbers
            )
            states.save(epoch, state)
        on_epoch(row)

    if result.best_weights is None:
        raise DivergedError(
            f"no epoch of {len(result.history)} had a finite validation {config.KeyEval}; "
            "lower the learning rates"
        )
    return result


def contrastive_batch_size(config: SupArcConfig) -> int:
    """Clips whose pairs the contrastive loss sees: a batch, or ``contrastive_batch_size``.

    Raises:
        ConfigError: asked for together with several processes, which see each other's clips.
    """
    if config.contrastive_batch_size <= config.batch_size:
        return config.batch_size
    if processes.count() > 1:
        raise ConfigError(
            f"contrastive_batch_size = {config.contrastive_batch_size}: not with "
            f"{processes.count()} processes, which compare the clips of all already; raise "
            "batch_size instead"
        )
    return config.contrastive_batch_size


@torch.no_grad()
def encode_text(model: SupArc, clips: Clips, runtime: Runtime, *, batch_size: int = 64) -> Clips:
    """The clips with what the frozen text encoder makes of them, computed once."""
    encoded = torch.empty(len(clips), model.text_encoder.width)
    model.text_encoder.eval()
    for places in progress(places_by_length(clips, batch_size), "encode text"):
        text = runtime.to_device(clips.take(processes.part_of(places)).text)
        with runtime.autocast():
            part = model.text_encoder(text).float()
        encoded[places] = processes.gather(part, len(places)).cpu()
    return replace(clips, encoded_text=encoded)


@torch.inference_mode()
def predict(
    model: SupArc,
    clips: Clips,
    runtime: Runtime,
    *,
    batch_size: int,
    present: Any = None,
    features: dict[str, Tensor] | None = None,
) -> Tensor:
    """Scores (N,) float32 on the CPU, in the order of the clips.

    Clips of about one length are computed together.

    Args:
        present: the modalities kept; see :meth:`SupArc.fuse`.
        features: is filled with the model's other outputs, (N, ...) each.
    """
    was_training = model.training
    model.eval()
    kept = {} if features is None else features
    for places in progress(places_by_length(clips, batch_size), "evaluate"):
        batch = clips.take(processes.part_of(places)).map(runtime.to_device)
        with runtime.autocast():
            outputs = model(
                batch.text,
                (batch.audio, batch.audio_lengths),
                (batch.vision, batch.vision_lengths),
                present,
                batch.encoded_text,
            )
        for name in outputs if features is not None else ("M",):
            value = processes.gather(outputs[name].float(), len(places)).cpu()
            kept.setdefault(name, value.new_empty(len(clips), *value.shape[1:]))[places] = value
    model.train(was_training)
    return kept.pop("M").reshape(-1) if kept else torch.empty(0)


def evaluate(prediction: Tensor, scores: Tensor, metrics: MetricsFunction) -> dict[str, float]:
    """The toolkit's metrics and ``Loss``, the MAE over all clips (not a mean of batch means).

    Raises:
        DivergedError: a prediction is not finite: the toolkit would give it a normal accuracy.
    """
    wrong = int((~torch.isfinite(prediction)).sum())
    if wrong:
        raise DivergedError(
            f"{wrong} of {len(prediction)} predictions are not finite; lower the learning rates"
        )
    measured = {name: float(value) for name, value in metrics(prediction, scores).items()}
    measured["Loss"] = float((prediction - scores).abs().mean())
    return measured


def make_objective(config: SupArcConfig) -> Objective:
    """The losses, as configured."""
    contrastive: nn.Module = SupArcLoss(
        threshold=config.threshold,
        margin=config.margin,
        temperature=config.temperature,
        margin_on=config.margin_on,
        margin_sign=config.margin_sign,
        margin_scale=config.margin_scale,
        sampling=config.sampling,
    )
    if config.contrastive != "suparc":
        similarity: Similarity = "cosine" if config.contrastive == "hscl" else "distance"
        contrastive = RankNContrastLoss(config.temperature, similarity)
    return Objective(
        contrastive,
        ModalityTripletLoss(margin=config.triplet_margin),
        weight_suparc=config.weight_suparc,
        weight_triplet=config.weight_triplet,
    )


def make_optimiser(model: SupArc, config: SupArcConfig, runtime: Runtime) -> torch.optim.AdamW:
    """AdamW with a learning rate each for text, audio, vision and the rest.

    Biases and normalisation weights (fewer than two axes) do not decay.
    """
    rates = {
        "text_encoder": config.learning_rate_text,
        "audio_encoder": config.learning_rate_audio,
        "vision_encoder": config.learning_rate_vision,
        "other": config.learning_rate_other,
    }
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            part = name.split(".")[0]
            decays = parameter.ndim >= 2
            groups.setdefault((part if part in rates else "other", decays), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": rates[part],
                "weight_decay": config.weight_decay if decays else 0.0,
            }
            for (part, decays), parameters in groups.items()
        ],
        fused=runtime.fuses_optimiser,
    )


def warm_up_then_decay(step: int, steps: int, warmup: float) -> float:
    """The factor on the learning rates: linear up over a share of the steps, then to zero."""
    rising = max(1, round(steps * warmup))
    if step < rising:
        return (step + 1) / rising
    return max(0.0, (steps - step) / max(1, steps - rising))


def _key(row: Row, name: str) -> float:
    """The value that selects the epoch, so that lower is better."""
    value: float = row[f"valid_{name}"]
    return value if METRICS[name].better == "lower" else -value


def _diverged(
    model: SupArc,
    batch: Clips,
    runtime: Runtime,
    values: dict[str, float],
    epoch: int,
    step: int,
) -> DivergedError:
    """The error for a loss that is not finite: which term, and the clips whose score is not."""
    name, value = next((n, v) for n, v in reversed(values.items()) if not isfinite(v))
    scores = predict(model, batch, runtime, batch_size=len(batch))
    clips = batch.names_of(~torch.isfinite(scores))
    where = f"; clips {', '.join(clips[:5])}{' …' if len(clips) > 5 else ''}" if clips else ""
    return DivergedError(
        f"epoch {epoch}, step {step}: the term '{name.removeprefix('loss_')}' is {value}{where}; "
        "check the features, or lower the learning rates or the term's weight"
    )
