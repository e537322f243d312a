"""The supervised angular-margin contrastive loss against loops, angles and a known library."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from pytorch_metric_learning.losses import SupConLoss

from mmsa_suparc import announced
from mmsa_suparc.errors import ConfigError
from mmsa_suparc.losses import SupArcLoss, suparc, suparc_loss
from mmsa_suparc.toolkit import settings
from tests.reference.loops import suparc_loops

OPTIONS = [
    {"margin_on": on, "margin_sign": sign, "margin_scale": scale, "sampling": sampling}
    for on, sign, scale, sampling in product(
        ("negatives", "positives", "both", "none"),
        ("subtract", "add"),
        ("score_difference", "constant"),
        ("threshold", "class", "rounded"),
    )
]


def make_batch(seed: int, size: int = 9, width: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(size, width, generator=generator, dtype=torch.float64)
    scores = torch.randint(-15, 16, (size,), generator=generator).double() / 5
    return features, scores


def on_circle(*degrees: float) -> torch.Tensor:
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], dim=1)


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(o.values()))
def test_value_and_gradient_equal_the_loops(options: dict[str, str]) -> None:
    # A margin of 0.7 rad a score unit reaches both bounds, 0 and π.
    for seed, margin in product(range(4), (0.1, 0.7)):
        features, scores = make_batch(seed)
        numbers = {"threshold": 0.5, "margin": margin, "temperature": 0.2}
        ours = features.clone().requires_grad_()
        slow = features.clone().requires_grad_()
        loss = suparc_loss(ours, scores, **numbers, **options)
        expected = suparc_loops(slow, scores, **numbers, **options)
        torch.testing.assert_close(loss, expected, atol=1e-9, rtol=0)
        loss.backward()
        expected.backward()
        torch.testing.assert_close(ours.grad, slow.grad, atol=1e-9, rtol=1e-7)


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(o.values()))
def test_gradcheck(options: dict[str, str]) -> None:
    features, scores = make_batch(7, size=6, width=4)
    loss = SupArcLoss(0.6, 0.1, 0.3, **options)
    assert torch.autograd.gradcheck(lambda f: loss(f, scores), features.requires_grad_())


def test_equals_supcon_without_margin_and_with_class_sampling() -> None:
    for seed in range(5):
        features, scores = make_batch(seed, size=16)
        ours = SupArcLoss(temperature=0.1, margin_on="none", sampling="class")
        theirs = SupConLoss(temperature=0.1)
        torch.testing.assert_close(
            ours(features, scores), theirs(features, scores.sign().long()), atol=1e-9, rtol=1e-9
        )


def test_known_angles() -> None:
    # Anchors 1 and 2 are positives of each other at 40°; clip 3 is 90° and 130° away with a
    # score difference of 2, so a margin of 0.1 rad a unit moves it by 0.2 rad.
    features = on_circle(40, 0, 130)
    scores = torch.tensor([0.0, 0.0, 2.0], dtype=torch.float64)
    loss = suparc_loss(features, scores, threshold=0.5, margin=0.1, temperature=1.0)
    positive = math.exp(math.cos(math.radians(40)))
    negatives = [math.exp(math.cos(math.radians(a) - 0.2)) for a in (90, 130)]
    expected = sum(-math.log(positive / (positive + n)) for n in negatives) / 2
    assert loss.item() == pytest.approx(expected, abs=1e-12)


def test_margin_bounds() -> None:
    # θ − φ below 0 counts as 0, θ + φ above π as π.
    features = on_circle(0, 10, 170)
    scores = torch.tensor([0.0, 0.0, 3.0], dtype=torch.float64)
    both = {"threshold": 0.5, "margin": 10.0, "temperature": 1.0, "margin_on": "negatives"}
    near = suparc_loss(features, scores, margin_sign="subtract", **both)
    far = suparc_loss(features, scores, margin_sign="add", **both)
    positive = math.exp(math.cos(math.radians(10)))
    assert near.item() == pytest.approx(-math.log(positive / (positive + math.exp(1))), abs=1e-12)
    assert far.item() == pytest.approx(-math.log(positive / (positive + math.exp(-1))), abs=1e-12)


def test_subtracting_on_negatives_pushes_harder_the_further_the_scores() -> None:
    features = on_circle(0, 5, 60)

    def loss(distant_score: float) -> float:
        scores = torch.tensor([0.0, 0.0, distant_score], dtype=torch.float64)
        return suparc_loss(features, scores, margin=0.1).item()

    assert loss(1.0) < loss(2.0) < loss(3.0)


def test_scale_of_features_does_not_matter() -> None:
    features, scores = make_batch(3)
    expected = suparc_loss(features, scores)
    for scale in (1e-200, 1e-30, 1e30, 1e200):
        torch.testing.assert_close(suparc_loss(features * scale, scores), expected)


DEGENERATE = {
    "identical": torch.ones(4, 3),
    "opposite": torch.tensor([[1.0, 0, 0], [-1, 0, 0], [1, 0, 0], [-1, 0, 0]]),
    "zero": torch.zeros(4, 3),
    "one zero": torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]),
    "tiny": torch.full((4, 3), 1e-38),
    "huge": torch.full((4, 3), 1e38),
}


@pytest.mark.parametrize("features", DEGENERATE.values(), ids=DEGENERATE)
@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(o.values()))
@pytest.mark.parametrize("temperature", [0.1, 1e-6])
def test_degenerate_vectors_stay_finite(
    features: torch.Tensor, options: dict[str, str], temperature: float
) -> None:
    for scores in ([0.0, 0.2, 0.4, 3.0], [-3.0, -1.0, 1.0, 3.0], [0.0] * 4):
        leaf = features.clone().requires_grad_()
        loss = suparc_loss(leaf, torch.tensor(scores), temperature=temperature, **options)
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(leaf.grad).all()


def test_gradient_does_not_explode_near_parallel_and_opposite_vectors() -> None:
    # acos has an infinite slope there; the loss as a function of the vectors has not.
    for angle in (1e-6, 1e-4, math.pi - 1e-4, math.pi - 1e-6):
        features = on_circle(0, math.degrees(angle), 90, 91).requires_grad_()
        scores = torch.tensor([0.0, 2.0, 0.0, 2.0], dtype=torch.float64)
        suparc_loss(features, scores, margin_on="both").backward()
        assert features.grad.abs().max() < 100


@pytest.mark.parametrize("scores", [[1.0], [-3.0, 0.0, 3.0]], ids=["one clip", "no positive pair"])
def test_without_a_positive_pair_the_loss_is_zero_with_a_graph(scores: list[float]) -> None:
    features = torch.randn(len(scores), 4, requires_grad=True)
    loss = suparc_loss(features, torch.tensor(scores))
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(features.grad, torch.zeros_like(features))


def test_without_a_negative_pair_all_are_positives() -> None:
    features, _ = make_batch(1, size=5)
    scores = torch.zeros(5, dtype=torch.float64)
    options = OPTIONS[0]
    numbers = {"threshold": 0.5, "margin": 0.1, "temperature": 0.5}
    torch.testing.assert_close(
        suparc_loss(features, scores, **numbers, **options),
        suparc_loops(features, scores, **numbers, **options),
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    features, scores = make_batch(2, size=32, width=16)
    half = features.to(dtype)
    loss = suparc_loss(half, scores.to(dtype))
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, suparc_loss(half.float(), scores.to(dtype).float()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = suparc_loss(half.float(), scores.float())
    torch.testing.assert_close(inside, suparc_loss(half.float(), scores.float()))


def test_scores_may_be_a_column() -> None:
    features, scores = make_batch(4)
    assert torch.equal(suparc_loss(features, scores[:, None]), suparc_loss(features, scores))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": -0.1}, "threshold is -0.1"),
        ({"margin": math.inf}, "margin is inf"),
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"margin_on": "all"}, "margin_on is 'all'"),
        ({"margin_sign": "minus"}, "margin_sign is 'minus'"),
        ({"margin_scale": "linear"}, "margin_scale is 'linear'"),
        ({"sampling": "random"}, "sampling is 'random'"),
    ],
)
def test_numbers_out_of_range_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SupArcLoss(**options)


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match=r"\(4, 3\) and scores \(5,\)"):
        suparc_loss(torch.ones(4, 3), torch.ones(5))


def test_module_equals_function_and_shows_its_numbers() -> None:
    features, scores = make_batch(5)
    module = SupArcLoss(0.3, 0.2, 0.4, margin_on="both", margin_sign="add")
    direct = suparc_loss(
        features, scores, threshold=0.3, margin=0.2, temperature=0.4, margin_on="both",
        margin_sign="add",
    )  # fmt: skip
    assert torch.equal(module(features, scores), direct)
    assert "margin_on=both" in repr(module)


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(o.values()))
def test_large_batches_in_blocks_are_the_same(
    options: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    features, scores = make_batch(3, size=21)
    loss = SupArcLoss(0.4, 0.3, 0.2, **options)
    found = []
    for block in (512, 12):
        monkeypatch.setattr(suparc, "BLOCK", block)
        leaf = features.clone().requires_grad_()
        value = loss(leaf, scores)
        (3.0 * value).backward()
        found.append((value.detach(), leaf.grad))
    torch.testing.assert_close(found[1], found[0], atol=1e-12, rtol=1e-12)
    with torch.no_grad():
        assert loss(features, scores) == pytest.approx(found[0][0].item())


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(o.values()))
def test_gradcheck_in_blocks(options: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    features, scores = make_batch(3, size=21)
    loss = SupArcLoss(0.4, 0.3, 0.2, **options)
    monkeypatch.setattr(suparc, "BLOCK", 12)
    assert torch.autograd.gradcheck(lambda f: loss(f, scores), features.requires_grad_())


def test_a_large_batch_without_a_positive_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suparc, "BLOCK", 2)
    features = torch.randn(5, 3, requires_grad=True)
    value = SupArcLoss(0.1)(features, torch.arange(5.0))
    value.backward()
    assert value.item() == 0.0
    assert features.grad.abs().sum() == 0.0


def test_a_second_derivative_in_blocks_is_refused_rather_than_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    features, scores = make_batch(4, size=21)
    leaf = features.requires_grad_()
    (first,) = torch.autograd.grad(SupArcLoss()(leaf, scores), leaf, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), leaf)
    assert second.abs().sum() > 0
    monkeypatch.setattr(suparc, "BLOCK", 12)
    with pytest.raises(RuntimeError, match="no second derivative; expected create_graph=False"):
        torch.autograd.grad(SupArcLoss()(leaf, scores), leaf, create_graph=True)


@pytest.mark.parametrize("dataset", ["mosi", "mosei", "sims", "demo", "custom"])
def test_a_data_set_s_values_are_those_of_its_runs(dataset: str) -> None:
    announced.announce()
    values = settings.load("suparc", dataset).values
    loss = SupArcLoss.from_config(dataset)
    for name in suparc._Numbers._fields:
        assert getattr(loss, name) == values[name], name


def test_the_defaults_differ_from_mosi_s_and_may_be_changed() -> None:
    assert SupArcLoss().margin_on == "negatives"
    assert SupArcLoss.from_config("mosi").margin_on == "positives"
    assert SupArcLoss.from_config("mosi", margin=0.3).margin == 0.3
    with pytest.raises(ConfigError, match="did you mean 'mosi'"):
        SupArcLoss.from_config("mossi")
