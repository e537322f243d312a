"""Diagnostics of a trained model: the numbers of its own batches, and what is warned of."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from mmsa_suparc.config import SupArcConfig, plugin_configs, read_file
from mmsa_suparc.training import loop
from mmsa_suparc.training.diagnosis import diagnose
from mmsa_suparc.training.runtime import Runtime
from mmsa_suparc.training.step import TrainingStep
from tests.helpers.small import FAST, configured, make_clips

CPU = Runtime(torch.device("cpu"), "fp32")
VALID = make_clips("valid")


def test_the_gradients_are_those_of_a_training_step_without_dropout() -> None:
    config = FAST.model_copy(update={"batch_size": 60, "mask_vector": "learned"})
    model = configured(config).eval()
    clips = VALID.take(torch.arange(60), as_stored=True)
    found = diagnose(model, clips, config, CPU)
    step = TrainingStep(model, loop.make_objective(config))
    encodings = step.encode(clips)
    fusion = model.fuse(encodings)
    mae = (model.predict(fusion)[:, 0] - clips.scores).abs().mean()
    (expected,) = torch.autograd.grad(mae, fusion)
    assert found["norms"]["mae"] == pytest.approx(expected.norm().item(), rel=1e-4)
    assert set(found["norms"]) == {"mae", "suparc", "triplet", "masked"}
    assert (found["clips"], found["batch"]) == (60, 60)
    assert len(found["cosines"]) == 6
    assert all(-1 <= cosine <= 1 for cosine in found["cosines"].values())


def test_it_changes_nothing_and_repeats_itself() -> None:
    model = configured(FAST).train()
    before = copy.deepcopy(model.state_dict())
    first = diagnose(model, VALID, FAST, CPU)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert diagnose(model, VALID, FAST, CPU) == first
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_the_margin_that_suparc_yaml_gives_mosi_is_named() -> None:
    content = read_file(plugin_configs() / "suparc.yaml")
    old = {"margin_on": "positives", "margin_sign": "add", "threshold": 0.5, "margin": 0.1}
    values = {**content["shared"], **old, "batch_size": 16}
    config = SupArcConfig(**values)
    fifths = replace(VALID, scores=(VALID.scores * 5).round() / 5)  # as MOSI's labels
    found = diagnose(configured(config), fifths, config, CPU)
    assert found["pairs"]["margin_largest"] <= 0.05
    assert found["warnings"][0].startswith("the margin does nothing: ")
    acting = SupArcConfig(**{**values, "sampling": "class"})
    found = diagnose(configured(acting), fifths, acting, CPU)
    assert found["pairs"]["margin_largest"] > 0.1
    assert not any("margin" in line for line in found["warnings"])


@pytest.mark.parametrize(
    "values", [{"contrastive": "rank_n_contrast"}, {"weight_suparc": 0.0, "weight_masked": 0.0},
               {"use_finetune": False}, {"contrastive_batch_size": 48}, {"batch_size": 1},
               {"shared_dropout": True, "ema": 0.9}],
)  # fmt: skip
def test_every_kind_of_training_tells(values: dict) -> None:
    config = FAST.model_copy(update=values)
    found = diagnose(configured(config), VALID, config, CPU)
    assert (found["pairs"] is None) == ("contrastive" in values)
    assert ("suparc" in found["norms"]) == ("weight_suparc" not in values)
    assert found["batch"] == max(config.batch_size, config.contrastive_batch_size)
