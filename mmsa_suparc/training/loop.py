"""The training loop, read from top to bottom."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from math import inf
from typing import Any

import torch
from torch import Tensor, nn

from mmsa_suparc.config import SupArcConfig
from mmsa_suparc.data.batches import Clips, batch_places
from mmsa_suparc.errors import ConfigError, DivergedError, StoppedError, UserError, in_a_line
from mmsa_suparc.losses import ModalityTripletLoss, Objective, RankNContrastLoss, SupArcLoss
from mmsa_suparc.losses.rank_n_contrast import Similarity
from mmsa_suparc.model import SupArc
from mmsa_suparc.names import METRICS
from mmsa_suparc.progress import progress
from mmsa_suparc.training import feeding, processes
from mmsa_suparc.training.averaging import Averages
from mmsa_suparc.training.evaluation import MetricsFunction, encode_text, evaluate, predict
from mmsa_suparc.training.memory import peak_memory
from mmsa_suparc.training.optimiser import make_optimiser, make_schedule
from mmsa_suparc.training.runtime import Runtime
from mmsa_suparc.training.saving import Saving
from mmsa_suparc.training.state import State, StateFolder, capture, restore
from mmsa_suparc.training.step import Losses, TrainingStep, backward_in_parts
from mmsa_suparc.training.tally import LOOK, Tally

Row = dict[str, Any]
Weights = dict[str, Tensor]


@dataclass
class Fit:
    """What training leaves: a row an epoch, and the best epoch with its weights."""

    history: list[Row] = field(default_factory=list)
    best_epoch: int = 0
    best_weights: Weights | None = None

    def take(self, row: Row, model: SupArc, key_eval: str) -> bool:
        """Add an epoch's row; whether it is the best so far, whose weights are then kept."""
        best = min((_key(other, key_eval) for other in self.history if other["best"]), default=inf)
        row["best"] = _key(row, key_eval) < best - 1e-6
        self.history.append(row)
        if row["best"]:
            self.best_epoch = row["epoch"]
            self.best_weights = {
                name: tensor.detach().to("cpu", copy=True)
                for name, tensor in model.state_dict().items()
            }
        return bool(row["best"])


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
            ``valid_<metric>``, ``learning_rate``, ``*_seconds``, ``peak_*_mib``, ``best``.
        states: where the full state is saved after epochs (``config.save_every``) and at the end
            of the training, whatever ends it; from where the training goes on if there is one.
        should_stop: asked after each step; True ends the training with
            :class:`StoppedError`, after which the last epoch's state serves to go on.

    Raises:
        StoppedError: it was asked to stop.
        DivergedError: a loss that is not finite, named by epoch, step and term; or no epoch
            with a finite validation metric.
        DiskError: a state could not be written.
    """
    if not config.use_finetune:
        train, valid = (encode_text(model, clips, runtime) for clips in (train, valid))
    model.learn_scale((train.audio, train.audio_lengths), (train.vision, train.vision_lengths))
    valid = feeding.placed(valid, runtime.device)
    training = Training(model, train, config, runtime, seed)
    result = training.restore(states)
    if result.best_weights is not None:
        on_best(result.best_weights)
    for earlier in result.history:
        on_epoch(earlier)

    with contextlib.closing(training), Saving(states, config.save_every) as saving:
        for epoch in range(len(result.history) + 1, config.epochs + 1):
            if epoch - result.best_epoch > config.early_stop:
                break
            started = time.perf_counter()
            row: Row = {"epoch": epoch, **training.epoch(epoch, saving.watched(should_stop))}
            trained = time.perf_counter()
            with training.averages.in_place():
                prediction = predict(model, valid, runtime, batch_size=config.evaluation_batch_size)
                measured = evaluate(prediction, valid.scores, metrics)
                row |= {f"valid_{name}": value for name, value in measured.items()}
                row["learning_rate"] = training.schedule.get_last_lr()[-1]
                row["train_seconds"] = trained - started
                row["valid_seconds"] = time.perf_counter() - trained
                row |= peak_memory(runtime.device)
                is_best = result.take(row, model, config.KeyEval)
            if is_best:
                assert result.best_weights is not None
                on_best(result.best_weights)
            saving.keep(epoch, partial(training.state, result))
            on_epoch(row)

    if result.best_weights is None:
        raise DivergedError(
            f"no epoch of {len(result.history)} had a finite validation {config.KeyEval}; "
            "lower the learning rates"
        )
    return result


class Training:
    """A training in progress: model, losses, optimiser, schedule, and the processes it runs in.

    Args: as in :func:`fit`.
    """

    def __init__(
        self, model: SupArc, train: Clips, config: SupArcConfig, runtime: Runtime, seed: int
    ) -> None:
        self.model, self.config, self.runtime = model, config, runtime
        self.train = feeding.placed(train, runtime.device)
        self.seed = seed
        model.text_encoder.train_only(train.text[:, 0])
        # An encoder computed by its own module may have parameters that its output ignores.
        unused = config.use_finetune and model.text_encoder.packed is None
        self.accelerator = runtime.accelerator(unused_parameters=unused)
        objective = make_objective(config).to(runtime.device)
        self.plain_step = TrainingStep(model, objective, mask_rate=config.mask_rate)
        self.plain_optimiser = make_optimiser(model, config, runtime)
        self.batch_size = contrastive_batch_size(config)
        self.count = -(-len(train) // self.batch_size)  # batches an epoch
        steps = -(-self.count // config.accumulation) * config.epochs
        self.schedule = make_schedule(
            self.plain_optimiser, steps=steps, warmup=config.warmup, kind=config.schedule
        )
        self.averages = Averages(model, config.ema)
        # In several processes the step shares gradients; under fp16 the optimiser scales them.
        self.step, self.optimiser = self.accelerator.prepare(self.plain_step, self.plain_optimiser)
        if config.compile:
            model.text_encoder.transformer.compile(dynamic=True)

    def close(self) -> None:
        """The model is whole again: all words of its table."""
        self.model.text_encoder.train_all()

    def restore(self, states: StateFolder | None) -> Fit:
        """Go on from the newest state, the same in every process; from nothing without one."""
        saved = processes.by_main(lambda: states.load() if states else None)
        if saved is None:
            return Fit()
        try:
            best_weights = restore(
                saved, self.model, self.plain_optimiser, self.schedule, self.accelerator.scaler
            )
            self.averages.restore(saved.tensors, saved.numbers.get("averaged_steps", 0))
            return Fit(saved.numbers["history"], saved.numbers["best_epoch"], best_weights)
        except (LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise UserError(
                f"the saved state of seed {self.seed} does not fit this training "
                f"({in_a_line(error)}); start it again without --resume"
            ) from None

    def state(self, result: Fit) -> State:
        """The whole state after an epoch, from which :meth:`restore` goes on."""
        averages = self.averages
        numbers = {
            "history": result.history,
            "best_epoch": result.best_epoch,
            "averaged_steps": averages.steps,
        }
        state = capture(
            self.model, self.plain_optimiser, self.schedule, self.accelerator.scaler,
            result.best_weights, numbers,
            # Where there are averages, the best weights are some of those.
            is_best=result.history[-1]["best"] and not averages.tensors(),
        )  # fmt: skip
        state.tensors.update(averages.tensors())
        return state

    def epoch(self, epoch: int, should_stop: Callable[[], bool]) -> dict[str, float]:
        """Train on every clip once; the means over clips of ``loss`` and ``loss_<term>``.

        The order of the clips is drawn from the seed and the epoch alone.
        """
        drawn_from = self.seed * 100_003 + epoch
        order = torch.Generator().manual_seed(drawn_from)
        if processes.count() > 1:  # dropout of their own
            torch.manual_seed(drawn_from * processes.count() + processes.number())
        batches = batch_places(
            self.train, self.batch_size, generator=order, by_length=self.config.bucket_by_length
        )
        tally = Tally(epoch, self.train.names_of)
        self.model.train()
        bar = progress(batches, f"epoch {epoch}/{self.config.epochs}")
        with contextlib.closing(self._parts(batches)) as parts:
            for step, places in enumerate(bar, start=1):
                weight, ends_group = in_group(step, self.count, self.config.accumulation)
                losses = self._backward(parts, len(places), weight, ends_group)
                norm = self._update() if ends_group else None
                tally.add(step, places, *losses, self.plain_step.finite, norm)
                if step % LOOK == 0:
                    bar.set_postfix_str(f"loss {tally.loss:.4f}")
                if self._is_stopped(should_stop, step):
                    raise StoppedError(f"stopped in epoch {epoch}, step {step}")
        return tally.means()

    def _parts(self, batches: Sequence[Tensor]) -> Generator[Clips, None, None]:
        """What this process computes of each batch, on the device; of a batch larger than
        ``batch_size`` its parts, one after the other."""
        places: Iterable[Tensor] = map(processes.part_of, batches)
        if self.batch_size > self.config.batch_size:
            places = (part for batch in batches for part in batch.split(self.config.batch_size))
        return feeding.batches(self.train, places, self.runtime.device)

    def _backward(
        self, parts: Iterator[Clips], size: int, weight: float, ends_group: bool
    ) -> Losses:
        """The losses of a batch; their weighted gradient is added to the parameters'."""
        config, accelerator = self.config, self.accelerator
        if self.batch_size > config.batch_size:
            some = list(islice(parts, -(-size // config.batch_size)))
            return backward_in_parts(self.plain_step, some, self.runtime, accelerator, weight)
        together = contextlib.nullcontext() if ends_group else accelerator.no_sync(self.step)
        with together:
            total, terms = self.step(next(parts), size)
            # DDP averages over the processes; each holds its part of a sum.
            accelerator.backward(total * (weight * processes.count()))
        return total, terms

    def _update(self) -> Tensor | None:
        """Change the parameters by the gradient that was summed up; its norm, if it has to be
        finite (under fp16 the scaler leaves a step out where it is not)."""
        accelerator = self.accelerator
        norm = accelerator.clip_grad_norm_(self.model.parameters(), self.config.clip_norm or inf)
        self.optimiser.step()
        self.schedule.step()
        self.averages.update()
        self.optimiser.zero_grad(set_to_none=True)
        return norm if accelerator.scaler is None else None

    def _is_stopped(self, should_stop: Callable[[], bool], step: int) -> bool:
        """Whether a process was asked to stop. GPUs are made to wait for each other's answers
        only now and then."""
        if processes.count() == 1:
            return should_stop()
        on_gpus = self.runtime.device.type == "cuda"
        if on_gpus and step % LOOK and step < self.count:
            return False
        return processes.any_of(should_stop(), self.runtime.device)


def in_group(batch: int, count: int, accumulation: int) -> tuple[float, bool]:
    """The weight of a batch's gradient in its group's step, and whether it ends the group.

    Args:
        batch: 1 to ``count``.
        count: batches an epoch; the last group of an epoch may be smaller than the others.
        accumulation: batches a group.
    """
    start = (batch - 1) // accumulation * accumulation
    return 1.0 / min(accumulation, count - start), batch % accumulation == 0 or batch == count


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
        weight_masked=config.weight_masked,
    )


def _key(row: Row, name: str) -> float:
    """The value that selects the epoch, so that lower is better."""
    value: float = row[f"valid_{name}"]
    return value if METRICS[name].better == "lower" else -value
