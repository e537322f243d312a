"""The training loop: what it learns, when it stops, what it refuses."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from mmsa_suparc.config import SupArcConfig
from mmsa_suparc.data.batches import Clips
from mmsa_suparc.data.demo import feature_file, vocabulary
from mmsa_suparc.errors import DivergedError, UserError
from mmsa_suparc.model import SequenceEncoder, SupArc, TextEncoder
from mmsa_suparc.training import loop
from mmsa_suparc.training.runtime import Runtime, find_device

CPU = Runtime(torch.device("cpu"), "fp32")
RATES = {f"learning_rate_{part}": 3e-3 for part in ("text", "audio", "vision", "other")}
FAST = SupArcConfig(epochs=4, **RATES)


def make_model() -> SupArc:
    torch.manual_seed(0)
    bert = BertConfig(
        vocab_size=len(vocabulary()),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    return SupArc(
        text_encoder=TextEncoder(transformer=BertModel(bert)),
        audio_encoder=SequenceEncoder(width=12, hidden=8),
        vision_encoder=SequenceEncoder(width=16, hidden=8),
        fusion_width=16,
    )


def make_clips(split: str) -> Clips:
    fields = feature_file({"train": 200, "valid": 60})[split]
    return Clips(
        **{
            name: torch.from_numpy(fields[source])
            for name, source in (
                ("text", "text_bert"), ("audio", "audio"), ("vision", "vision"),
                ("audio_lengths", "audio_lengths"), ("vision_lengths", "vision_lengths"),
                ("scores", "regression_labels"),
            )
        },
        index=torch.arange(len(fields["id"])),
    )  # fmt: skip


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
    prediction = loop.predict(model, VALID, CPU, batch_size=16)
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
        ({"weight_suparc": 0.0, "weight_triplet": 0.0}, {"loss", "loss_mae"}),
        ({"weight_suparc": 0.0}, {"loss", "loss_mae", "loss_triplet"}),
        ({"weight_triplet": 0.0}, {"loss", "loss_mae", "loss_suparc"}),
    ],
)
def test_terms_of_weight_zero_are_not_computed(update: dict, terms: set) -> None:
    row = fit(FAST.model_copy(update={"epochs": 1, **update})).history[0]
    assert {name for name in row if name.startswith("loss")} == terms


def test_the_text_encoder_runs_once_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model()
    calls = []
    model.text_encoder.register_forward_hook(lambda *args: calls.append(1))
    objective = loop.make_objective(FAST)
    loop.step_losses(model, objective, TRAIN.take(torch.arange(8)))
    assert len(calls) == 1


@pytest.mark.parametrize("accumulation", [1, 2, 3, 5])
@pytest.mark.parametrize("count", range(1, 21))
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
        model = make_model()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        model.text_encoder.transformer.config._attn_implementation = "eager"
        for layer in model.text_encoder.transformer.encoder.layer:
            layer.attention.self.dropout.p = 0.0
        config = FAST.model_copy(
            update={**update, "batch_size": size, "accumulation": accumulation}
        )
        weights.append(fit(config, model=model, train=TRAIN.take(torch.arange(16))).best_weights)
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name], atol=1e-5, rtol=1e-4)


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
    prediction = loop.predict(again, VALID, CPU, batch_size=7)
    best = min(row["valid_Loss"] for row in result.history)
    assert (prediction - VALID.scores).abs().mean().item() == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("size", [1, 7, 60])
def test_evaluation_does_not_depend_on_batch_size_or_order(size: int) -> None:
    model = make_model()
    expected = loop.predict(model, VALID, CPU, batch_size=16)
    torch.testing.assert_close(
        loop.predict(model, VALID, CPU, batch_size=size), expected, atol=1e-6, rtol=0
    )
    order = torch.randperm(60)
    torch.testing.assert_close(
        loop.predict(model, VALID.take(order), CPU, batch_size=size), expected[order],
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
        loop.evaluate(torch.tensor([1.0, math.nan, math.inf]), torch.zeros(3), metrics)


def test_optimiser_groups() -> None:
    config = SupArcConfig(
        learning_rate_text=1e-5, learning_rate_audio=2e-5, learning_rate_vision=3e-5,
        learning_rate_other=4e-5, weight_decay=0.5,
    )  # fmt: skip
    model = make_model()
    optimiser = loop.make_optimiser(model, config, CPU)
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
    factors = [loop.warm_up_then_decay(step, 100, 0.1) for step in range(101)]
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


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_cuda_trains(precision: str) -> None:
    runtime = Runtime(torch.device("cuda"), precision)
    result = loop.fit(
        make_model().to("cuda"), TRAIN, VALID, FAST, runtime=runtime, metrics=metrics, seed=1
    )
    assert np.isfinite([row["loss"] for row in result.history]).all()
    assert result.best_epoch >= 1
