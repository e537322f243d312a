"""The training loop: what it learns, when it stops, what it refuses."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmsa_suparc.config import SupArcConfig
from mmsa_suparc.data.batches import Clips, send
from mmsa_suparc.errors import DivergedError, UserError
from mmsa_suparc.model import SupArc
from mmsa_suparc.training import evaluation, loop
from mmsa_suparc.training.optimiser import make_optimiser, warm_up_then_decay
from mmsa_suparc.training.runtime import Runtime, find_device
from mmsa_suparc.training.step import TrainingStep, backward_in_parts
from tests.helpers.small import FAST, RATES, make_clips, make_model

CPU = Runtime(torch.device("cpu"), "fp32")
TRAIN, VALID = make_clips("train"), make_clips("valid")


def metrics(prediction: torch.Tensor, scores: torch.Tensor) -> dict[str, float]:
    return {
        "MAE": float((prediction - scores).abs().mean()),
        "Corr": float(np.corrcoef(prediction, scores)[0, 1]),
    }


def fit(config: SupArcConfig = FAST, *, train: Clips = TRAIN, **options: object) -> loop.Fit:
    model = options.pop("model", None) or make_model()
    return loop.fit(model, train, VALID, config, runtime=CPU, metrics=metrics, seed=1, **options)


def test_it_learns_and_keeps_the_best_epoch() -> None:
    seen: list[dict] = []
    result = fit(SupArcConfig(epochs=15, **dict.fromkeys(RATES, 1e-2)), on_epoch=seen.append)
    errors = [row["valid_Loss"] for row in result.history]
    assert seen == result.history
    assert min(errors) < 0.75 * VALID.scores.abs().mean()
    assert result.best_epoch == 1 + int(np.argmin(errors))
    model = make_model()
    model.load_state_dict(result.best_weights)
    prediction = evaluation.predict(model, VALID, CPU, batch_size=16)
    assert (prediction - VALID.scores).abs().mean().item() == pytest.approx(min(errors), abs=1e-6)


def test_same_seed_same_weights_whatever_ran_before() -> None:
    first = fit()
    torch.rand(100)
    second_model = make_model()  # seeds torch again
    second = fit(model=second_model)
    for name, tensor in first.best_weights.items():
        assert torch.equal(tensor, second.best_weights[name]), name


def test_early_stopping_and_selection_by_another_metric() -> None:
    frozen = FAST.model_copy(update={"epochs": 9, "early_stop": 2, **dict.fromkeys(RATES, 0.0)})
    result = fit(frozen)
    assert (len(result.history), result.best_epoch) == (3, 1)
    by_corr = fit(FAST.model_copy(update={"KeyEval": "Corr"}))
    correlations = [row["valid_Corr"] for row in by_corr.history]
    assert by_corr.best_epoch == 1 + int(np.argmax(correlations))


@pytest.mark.parametrize(
    ("update", "terms"),
    [
        ({"suparc": 0.0, "triplet": 0.0, "masked": 0.0}, {"mae"}),
        ({"suparc": 0.0}, {"mae", "triplet", "masked"}),
        ({"triplet": 0.0}, {"mae", "suparc", "masked"}),
        ({"masked": 0.0}, {"mae", "suparc", "triplet"}),
    ],
)
def test_terms_of_weight_zero_are_not_computed(update: dict, terms: set) -> None:
    weights = {f"weight_{name}": value for name, value in update.items()}
    row = fit(FAST.model_copy(update={"epochs": 1, **weights})).history[0]
    assert {name.removeprefix("loss_") for name in row if name.startswith("loss_")} == terms


def test_the_text_encoder_runs_once_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model()
    calls = []
    model.text_encoder.register_forward_hook(lambda *args: calls.append(1))
    objective = loop.make_objective(FAST)
    TrainingStep(model, objective)(TRAIN.take(torch.arange(8)))
    assert len(calls) == 1


@pytest.mark.parametrize("accumulation", [1, 2, 3, 5])
@pytest.mark.parametrize("count", range(1, 21))
def test_the_batches_of_a_group_weigh_one_together(count: int, accumulation: int) -> None:
    weights, groups = 0.0, 0
    for batch in range(1, count + 1):
        weight, ends = loop.in_group(batch, count, accumulation)
        weights += weight
        if ends:
            groups += 1
            assert weights == pytest.approx(groups)
    assert groups == math.ceil(count / accumulation)
    assert weights == pytest.approx(groups)


@pytest.mark.parametrize(
    ("count", "accumulation"),
    [(1, 1), (1, 3), (4, 2), (5, 2), (6, 3), (7, 3), (7, 5), (10, 5)],
)
def test_steps_are_batches_over_accumulation_rounded_up(
    count: int, accumulation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []
    real = torch.optim.AdamW.step
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda *a, **k: steps.append(real(*a, **k)))
    update = {"epochs": 1, "batch_size": 1, "accumulation": accumulation}
    fit(FAST.model_copy(update=update), train=TRAIN.take(torch.arange(count)))
    assert len(steps) == math.ceil(count / accumulation)


def test_accumulated_gradient_is_that_of_the_whole_batch() -> None:
    # Without the contrastive term, whose pairs stay within a batch, the two are the same.
    update = {
        "epochs": 1, "weight_suparc": 0.0, "weight_triplet": 0.0, "dropout": 0.0,
        "bucket_by_length": False,
    }  # fmt: skip
    weights = []
    for size, accumulation in ((8, 1), (4, 2)):
        model = make_model(dropout=0.0)
        config = FAST.model_copy(
            update={**update, "batch_size": size, "accumulation": accumulation}
        )
        weights.append(fit(config, model=model, train=TRAIN.take(torch.arange(16))).best_weights)
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name], atol=1e-5, rtol=1e-4)


def test_a_contrastive_batch_in_parts_trains_like_the_whole_one() -> None:
    update = {"epochs": 2, "bucket_by_length": False}
    found = []
    for sizes in ({"batch_size": 48}, {"batch_size": 16, "contrastive_batch_size": 48}):
        config = FAST.model_copy(update={**update, **sizes})
        found.append(fit(config, model=make_model(dropout=0.0)))
    whole, parts = found
    assert parts.history[0]["loss_suparc"] == pytest.approx(whole.history[0]["loss_suparc"])
    for name, tensor in whole.best_weights.items():
        torch.testing.assert_close(parts.best_weights[name], tensor, atol=1e-4, rtol=1e-3)


def test_a_contrastive_batch_in_parts_repeats_its_dropout() -> None:
    class Plain:
        scaler = None

        @staticmethod
        def backward(loss: torch.Tensor) -> None:
            loss.backward()

    model = make_model(dropout=0.5).train()
    step = TrainingStep(model, loop.make_objective(FAST))
    seen: list[torch.Tensor] = []
    model.text_encoder.register_forward_hook(lambda m, i, out: seen.append(out.detach()))
    parts = [TRAIN.take(torch.arange(8)), TRAIN.take(torch.arange(8, 12))]
    backward_in_parts(step, parts, CPU, Plain, 1.0)
    assert torch.equal(seen[0], seen[2])
    assert torch.equal(seen[1], seen[3])
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_a_frozen_encoder_runs_once_a_clip() -> None:
    def frozen() -> SupArc:
        model = make_model()
        model.text_encoder.finetune = False
        model.text_encoder.requires_grad_(False)
        return model

    model, seen = frozen(), []
    model.text_encoder.register_forward_hook(lambda m, inputs, out: seen.append(len(out)))
    config = FAST.model_copy(update={"use_finetune": False})
    result = fit(config, model=model)
    assert sum(seen) == len(TRAIN) + len(VALID)
    again = frozen()
    again.load_state_dict(result.best_weights)
    prediction = evaluation.predict(again, VALID, CPU, batch_size=7)
    best = min(row["valid_Loss"] for row in result.history)
    assert (prediction - VALID.scores).abs().mean().item() == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("size", [1, 7, 60])
def test_evaluation_does_not_depend_on_batch_size_or_order(size: int) -> None:
    model = make_model()
    expected = evaluation.predict(model, VALID, CPU, batch_size=16)
    torch.testing.assert_close(
        evaluation.predict(model, VALID, CPU, batch_size=size), expected, atol=1e-6, rtol=0
    )
    order = torch.randperm(60)
    torch.testing.assert_close(
        evaluation.predict(model, VALID.take(order), CPU, batch_size=size), expected[order],
        atol=1e-6, rtol=0,
    )  # fmt: skip


def test_a_last_batch_of_one_and_tiny_splits() -> None:
    tiny = TRAIN.take(torch.arange(3))
    assert len(fit(FAST.model_copy(update={"batch_size": 2}), train=tiny).history) == 4
    assert len(fit(train=TRAIN.take(torch.arange(1))).history) == 4


def test_values_that_are_not_finite_stop_at_once_and_are_named() -> None:
    audio = TRAIN.audio.clone()
    audio[:, 0, 0] = math.nan
    with pytest.raises(DivergedError, match=r"epoch 1, step 1: the term '\w+' is nan; clips"):
        fit(train=replace(TRAIN, audio=audio))
    audio[1:] = TRAIN.audio[1:]
    names = tuple(f"clip-{n}" for n in range(len(TRAIN)))
    with pytest.raises(DivergedError, match="clips clip-0; check"):
        fit(train=replace(TRAIN, audio=audio, names=names))
    with pytest.raises(DivergedError, match="2 of 3 predictions are not finite"):
        evaluation.evaluate(torch.tensor([1.0, math.nan, math.inf]), torch.zeros(3), metrics)


def test_optimiser_groups() -> None:
    config = SupArcConfig(
        learning_rate_text=1e-5, learning_rate_audio=2e-5, learning_rate_vision=3e-5,
        learning_rate_other=4e-5, weight_decay=0.5,
    )  # fmt: skip
    model = make_model()
    optimiser = make_optimiser(model, config, CPU)
    rate_of = {
        id(p): (group["lr"], group["weight_decay"])
        for group in optimiser.param_groups
        for p in group["params"]
    }
    assert set(rate_of) == {id(p) for p in model.parameters() if p.requires_grad}
    assert rate_of[id(model.audio_encoder.ahead[0].weight_ih_l0)] == (2e-5, 0.5)
    assert rate_of[id(model.vision_encoder.back[0].bias_ih_l0)] == (3e-5, 0.0)
    assert rate_of[id(model.fusion[1].weight)] == (4e-5, 0.5)
    text = model.text_encoder.transformer
    assert rate_of[id(text.embeddings.word_embeddings.weight)] == (1e-5, 0.5)
    assert rate_of[id(text.embeddings.LayerNorm.weight)] == (1e-5, 0.0)


def test_warm_up_then_decay() -> None:
    factors = [warm_up_then_decay(step, 100, 0.1) for step in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == factors[9] == 1.0
    assert factors[100] == 0.0
    assert all(later < earlier for earlier, later in pairwise(factors[10:]))


def test_devices_and_precision() -> None:
    assert find_device("cpu").type == "cpu"
    for name in ("quantum", "cuda:99", "meta"):
        with pytest.raises(UserError, match=f"--device {name}"):
            find_device(name)
    assert Runtime.choose(torch.device("cpu"), "fp32").precision == "fp32"
    with pytest.raises(UserError, match="fp16 needs a CUDA device"):
        Runtime.choose(torch.device("cpu"), "fp16")


def test_bf16_trains_with_losses_in_float32() -> None:
    runtime = Runtime(torch.device("cpu"), "bf16")
    result = loop.fit(
        make_model(), TRAIN, VALID, FAST.model_copy(update={"epochs": 2}), runtime=runtime,
        metrics=metrics, seed=1,
    )  # fmt: skip
    assert np.isfinite([row["loss"] for row in result.history]).all()
    assert all(t.dtype != torch.bfloat16 for t in result.best_weights.values())


def test_the_cuda_path_pins_copies_without_waiting_and_scales(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is asked of torch and accelerate for a GPU, where there is none."""
    asked: list[object] = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: asked.append("pinned") or tensor)
    monkeypatch.setattr(
        torch.Tensor, "to", lambda tensor, *a, **options: asked.append((*a, options)) or tensor
    )
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: asked.append(device))
    monkeypatch.setattr("accelerate.Accelerator", lambda **options: SimpleNamespace(**options))
    device = torch.device("cuda:1")
    runtime = Runtime(device, "fp16")
    tensor = torch.ones(2)
    assert send(tensor, device) is tensor
    assert asked == ["pinned", (device, {"non_blocking": True})]
    accelerator = runtime.accelerator()
    assert asked[2:] == [device]
    assert (accelerator.cpu, accelerator.mixed_precision) == (False, "fp16")
    assert runtime.fuses_optimiser
    for has_bf16, expected in ((True, "bf16"), (False, "fp16")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda found=has_bf16: found)
        assert Runtime.choose(device).precision == expected


@pytest.mark.slow
def test_compiled_it_trains_the_same() -> None:
    config = FAST.model_copy(update={"epochs": 1})
    plain = fit(config, model=make_model(dropout=0.0))
    compiled = fit(config.model_copy(update={"compile": True}), model=make_model(dropout=0.0))
    assert list(compiled.best_weights) == list(plain.best_weights)
    assert compiled.history[0]["loss"] == pytest.approx(plain.history[0]["loss"], rel=1e-4)


GPU = torch.device("cuda")


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("compiled", [False, True])
def test_cuda_trains(precision: str, compiled: bool) -> None:
    config = FAST.model_copy(update={"compile": compiled})
    result = loop.fit(
        make_model().to(GPU), TRAIN, VALID, config, runtime=Runtime(GPU, precision),
        metrics=metrics, seed=1,
    )  # fmt: skip
    assert np.isfinite([row["loss"] for row in result.history]).all()
    assert result.history[-1]["loss_mae"] < result.history[0]["loss_mae"]
    assert all(tensor.device.type == "cpu" for tensor in result.best_weights.values())


@pytest.mark.gpu
def test_cuda_agrees_with_the_cpu() -> None:
    config = FAST.model_copy(update={"epochs": 2, "precision": "fp32"})
    here = fit(config, model=make_model(dropout=0.0))
    there = loop.fit(
        make_model(dropout=0.0).to(GPU), TRAIN, VALID, config, runtime=Runtime(GPU, "fp32"),
        metrics=metrics, seed=1,
    )  # fmt: skip
    for ours, theirs in zip(here.history, there.history, strict=True):
        assert theirs["loss"] == pytest.approx(ours["loss"], rel=1e-3)
        assert theirs["valid_Loss"] == pytest.approx(ours["valid_Loss"], rel=1e-3)


@pytest.mark.gpu
def test_cuda_memory_of_a_contrastive_batch_is_that_of_its_parts() -> None:
    peaks = []
    for sizes in ({"batch_size": 192}, {"batch_size": 16, "contrastive_batch_size": 192}):
        torch.cuda.reset_peak_memory_stats()
        loop.fit(
            make_model().to(GPU), TRAIN, VALID, FAST.model_copy(update={"epochs": 1, **sizes}),
            runtime=Runtime(GPU, "fp32"), metrics=metrics, seed=1,
        )  # fmt: skip
        peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[1] < 0.6 * peaks[0]
