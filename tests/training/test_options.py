"""Ways to train that a benchmark compares: each does what it says, and goes on after a kill."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from transformers import DistilBertConfig, DistilBertModel, GPT2Config, GPT2Model

from mmsa_suparc.config import SupArcConfig
from mmsa_suparc.data.demo import vocabulary
from mmsa_suparc.errors import ConfigError
from mmsa_suparc.model import TextEncoder
from mmsa_suparc.training import evaluation, loop
from mmsa_suparc.training.averaging import Averages
from mmsa_suparc.training.optimiser import layer_factors, make_optimiser, warm_up_then_decay
from mmsa_suparc.training.runtime import Runtime
from mmsa_suparc.training.state import StateFolder
from mmsa_suparc.training.step import TrainingStep
from tests.helpers.small import FAST, configured, make_clips

CPU = Runtime(torch.device("cpu"), "fp32")
TRAIN, VALID = make_clips("train"), make_clips("valid")
OPTIONS = {
    "presence flags": {"presence_flags": True},
    "layer norm": {"fusion_norm": "layer_norm"},
    "projection": {"fusion_norm": "projection", "mask_vector": "learned"},
    "standardised": {"standardise": True},
    "shared dropout": {"shared_dropout": True},
    "mean of states": {"sequence_pooling": "mean"},
    "attention": {"sequence_pooling": "attention"},
    "layer decay": {"layer_decay": 0.5},
    "averaged weights": {"ema": 0.9},
    "cosine": {"schedule": "cosine"},
    "rounded": {"sampling": "rounded", "margin_on": "positives"},
}
#: Those that keep nothing of their own from step to step, or the same as another.
LIKE_OTHERS = {"presence flags", "layer norm", "mean of states", "attention", "layer decay"}


def with_values(**values: object) -> SupArcConfig:
    return FAST.model_copy(update=values)


def fit(config: SupArcConfig, **options: object) -> loop.Fit:
    return loop.fit(
        configured(config), TRAIN, VALID, config, runtime=CPU, seed=1,
        metrics=lambda prediction, scores: {}, **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def plain() -> loop.Fit:
    """Without any of them."""
    return fit(with_values(epochs=3))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in LIKE_OTHERS else [])
        for name in OPTIONS
    ],
)
def test_it_learns_and_goes_on_bit_for_bit(name: str, plain: loop.Fit, tmp_path: Path) -> None:
    config = with_values(epochs=3, **OPTIONS[name])
    whole = fit(config)
    assert whole.history[-1]["loss_mae"] < whole.history[0]["loss_mae"]
    assert whole.history[-1]["valid_Loss"] != plain.history[-1]["valid_Loss"]

    class Killed(Exception):
        pass

    def die(row: dict) -> None:
        if row["epoch"] == 2:
            raise Killed

    with pytest.raises(Killed):
        fit(with_values(epochs=3, **OPTIONS[name]), states=StateFolder(tmp_path, {}), on_epoch=die)
    resumed = fit(config, states=StateFolder(tmp_path, {}, resume=True))
    assert [row["loss"] for row in resumed.history] == [row["loss"] for row in whole.history]
    assert resumed.best_epoch == whole.best_epoch
    for key, tensor in whole.best_weights.items():
        assert torch.equal(tensor, resumed.best_weights[key]), key
    model = configured(config)
    model.load_state_dict(resumed.best_weights)
    prediction = evaluation.predict(model, VALID, CPU, batch_size=16)
    best = resumed.history[resumed.best_epoch - 1]["valid_Loss"]
    assert (prediction - VALID.scores).abs().mean().item() == pytest.approx(best, abs=1e-6)


def test_the_training_split_alone_is_what_standardises() -> None:
    model = configured(with_values(standardise=True))
    config = with_values(standardise=True, epochs=1)
    result = loop.fit(
        model, TRAIN, VALID, config, runtime=CPU, seed=1, metrics=lambda prediction, scores: {}
    )
    counted = torch.arange(TRAIN.audio.shape[1]) < TRAIN.audio_lengths[:, None]
    mean = TRAIN.audio[counted].double().mean(dim=0)
    found = result.best_weights["audio_encoder.standardise.mean"]
    torch.testing.assert_close(found.double(), mean, atol=1e-5, rtol=1e-5)


def test_with_a_shared_mask_a_subset_that_lacks_nothing_else_is_the_same_vector() -> None:
    distances = []
    for shared in (False, True):
        config = with_values(shared_dropout=shared, dropout=0.5, modalities=["text", "audio"])
        step = TrainingStep(configured(config).train(), loop.make_objective(config))
        seen: list[tuple] = []
        step.objective.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given))
        step(TRAIN.take(torch.arange(8)))
        fusion, masked = seen[0][1], seen[0][3]
        # Without vision anyway: masking vision leaves the same modalities.
        distances.append((masked[0] - fusion).norm(dim=-1).min(dim=0).values.max().item())
    assert distances[0] > 1e-3
    assert distances[1] == 0.0


def test_the_text_encoders_rate_falls_from_layer_to_layer() -> None:
    config = with_values(layer_decay=0.5, learning_rate_text=1e-4)
    model = configured(config, layers=3)
    optimiser = make_optimiser(model, config, CPU)
    rates = {p: group["lr"] for group in optimiser.param_groups for p in group["params"]}
    encoder = model.text_encoder.transformer
    assert {rates[p] for p in encoder.encoder.layer[2].parameters()} == {1e-4}
    assert {rates[p] for p in encoder.encoder.layer[0].parameters()} == {0.25e-4}
    assert {rates[p] for p in encoder.embeddings.parameters()} == {0.125e-4}
    assert {rates[p] for p in model.prediction.parameters()} == {config.learning_rate_other}
    assert len(rates) == sum(p.requires_grad for p in model.parameters())
    model.text_encoder.train_only(TRAIN.text[:, 0])  # the words that occur, in a table of their own
    optimiser = make_optimiser(model, config, CPU)
    rates = {p: group["lr"] for group in optimiser.param_groups for p in group["params"]}
    assert rates[model.text_encoder.words.rows] == 0.125e-4


def test_layers_are_found_in_distilbert_and_missed_by_name_elsewhere() -> None:
    vocab = {"vocab_size": len(vocabulary())}
    distilbert = DistilBertModel(
        DistilBertConfig(**vocab, dim=16, hidden_dim=16, n_layers=2, n_heads=2)
    )
    factors = layer_factors(TextEncoder(transformer=distilbert), 0.5)
    assert set(factors.values()) == {1.0, 0.5, 0.25}
    gpt = GPT2Model(GPT2Config(**vocab, n_embd=16, n_layer=1, n_head=2))
    assert layer_factors(TextEncoder(transformer=gpt), 1.0) == {}
    with pytest.raises(ConfigError, match=r"layer_decay = 0.5: .* number no layers; expected 1"):
        layer_factors(TextEncoder(transformer=gpt), 0.5)


def test_without_decay_the_groups_are_those_of_the_parts() -> None:
    groups = make_optimiser(configured(FAST, layers=3), FAST, CPU).param_groups
    assert len(groups) == 8


def test_averages_by_hand() -> None:
    linear = torch.nn.Linear(3, 2)
    averages = Averages(linear, 0.5)
    expected = linear.weight.detach().clone()
    for step in range(1, 30):
        with torch.no_grad():
            linear.weight.add_(1.0)
        averages.update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * linear.weight.detach()
    now = linear.weight.detach().clone()
    with averages.in_place():
        torch.testing.assert_close(linear.weight.detach(), expected)
    assert torch.equal(linear.weight, now)


def test_averages_are_what_is_validated_and_kept_while_training_goes_on_without_them() -> None:
    plain, averaged = fit(with_values(ema=0.0)), fit(with_values(ema=0.95))
    assert [row["loss"] for row in plain.history] == [row["loss"] for row in averaged.history]
    assert plain.history[0]["valid_Loss"] != averaged.history[0]["valid_Loss"]
    rows = "text_encoder.transformer.embeddings.word_embeddings.weight"
    assert not torch.equal(plain.best_weights[rows], averaged.best_weights[rows])


def test_the_cosine_meets_the_line_at_its_ends_and_in_the_middle() -> None:
    rates = [warm_up_then_decay(step, 110, 10 / 110, "cosine") for step in range(110)]
    assert rates[:10] == [warm_up_then_decay(step, 110, 10 / 110) for step in range(10)]
    assert (rates[10], rates[60]) == (1.0, pytest.approx(0.5))
    assert rates[35] == pytest.approx(0.5 + 0.5 * math.cos(math.pi / 4))
    assert 0 < rates[-1] < 1e-3
