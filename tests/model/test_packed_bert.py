"""An encoder without padding against Hugging Face's own module: values, gradients, chance."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AlbertConfig,
    AlbertModel,
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from mmsa_suparc.model import TextEncoder
from mmsa_suparc.model.packed_bert import dropout
from mmsa_suparc.model.packing import ROWS, pack

SIZES = {"vocab_size": 60, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 48}
CALM = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def bert(**more: Any) -> BertModel:
    return BertModel(BertConfig(**{**SIZES, "num_hidden_layers": 2, **CALM, **more}))


def roberta(kind: Any = RobertaModel, config: Any = RobertaConfig) -> Any:
    return kind(config(**SIZES, num_hidden_layers=2, max_position_embeddings=40, **CALM))


def distilbert() -> DistilBertModel:
    config = DistilBertConfig(
        vocab_size=60, dim=32, n_layers=2, n_heads=4, hidden_dim=48, dropout=0.0,
        attention_dropout=0.0,
    )  # fmt: skip
    return DistilBertModel(config)


ENCODERS = {
    "bert": bert,
    "roberta": roberta,
    "xlm-roberta": lambda: roberta(XLMRobertaModel, XLMRobertaConfig),
    "distilbert": distilbert,
}


def tokens(model: Any, *, segments: bool = True) -> Tensor:
    """Five clips: a full one with a hole, a short one, one token, none at all, a middling one."""
    generator = torch.Generator().manual_seed(1)
    counts = torch.tensor([9, 4, 1, 0, 7])
    text = torch.zeros(5, 3, 9, dtype=torch.long)
    text[:, 1] = (torch.arange(9) < counts[:, None]).long()
    text[0, 1, 3] = 0
    ids = torch.randint(5, 60, (5, 9), generator=generator)
    text[:, 0] = torch.where(text[:, 1] > 0, ids, model.config.pad_token_id or 0)
    if segments and isinstance(model, BertModel):
        text[:, 2] = (torch.arange(9) > 3).long()
    return text


@pytest.mark.parametrize("pooling", ["first", "mean"])
@pytest.mark.parametrize("name", ENCODERS)
def test_values_and_gradients_are_those_of_its_own_module(name: str, pooling: Any) -> None:
    torch.manual_seed(0)
    model = ENCODERS[name]().double()
    text, weights = tokens(model), torch.randn(5, 32, dtype=torch.float64)
    found = []
    for fast in (True, False):
        encoder = TextEncoder(transformer=model, pooling=pooling, fast=fast).train()
        assert (encoder.packed is not None) is fast
        model.zero_grad()
        out = encoder(text)
        (out * weights).sum().backward()
        gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        found.append((out.detach(), gradients))
    (ours, our_gradients), (theirs, their_gradients) = found
    torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)
    assert set(our_gradients) == set(their_gradients)
    for key, gradient in their_gradients.items():
        torch.testing.assert_close(our_gradients[key], gradient, atol=1e-9, rtol=1e-9, msg=key)


def test_in_bf16_it_is_as_far_from_fp32_as_its_own_module() -> None:
    torch.manual_seed(0)
    model = bert(num_hidden_layers=6).eval()
    text = tokens(model)
    slow, fast = (TextEncoder(transformer=model, fast=fast).eval() for fast in (False, True))
    with torch.no_grad():
        exact = slow(text)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            errors = [(each(text).float() - exact).abs().mean() for each in (slow, fast)]
    assert 0 < errors[1] < 1.5 * errors[0]


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("another architecture", lambda m: None),
        ("gradient checkpointing", lambda m: m.gradient_checkpointing_enable()),
        # With older transformers a model that is asked for attentions changes by itself.
        ("attentions", lambda m: (getattr(m, "set_attn_implementation", str)("eager"),
                                  setattr(m.config, "output_attentions", True))),
        ("all states", lambda m: setattr(m.config, "output_hidden_states", True)),
        ("a hook", lambda m: m.encoder.layer[0].register_forward_hook(lambda *a: None)),
        ("a replaced layer", lambda m: setattr(
            m.encoder.layer[0].attention.self, "query", torch.nn.Sequential(torch.nn.Identity(),
            m.encoder.layer[0].attention.self.query))),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_its_own_module_computes_what_this_cannot(what: str, change: Any) -> None:
    if what == "another architecture":
        model: Any = AlbertModel(AlbertConfig(**SIZES, embedding_size=16, **CALM))
    else:
        model = bert()
    encoder = TextEncoder(transformer=model).eval()
    before = encoder(tokens(model))
    change(model)
    assert encoder.packed is None
    torch.testing.assert_close(encoder(tokens(model)), before)


def test_dropout_keeps_the_share_and_the_mean() -> None:
    torch.manual_seed(0)
    ones = torch.ones(1000, 1001)
    for rate in (0.1, 0.5):
        out = dropout(ones, rate)
        assert (out == 0).float().mean().item() == pytest.approx(rate, abs=2e-3)
        assert out.mean().item() == pytest.approx(1.0, abs=5e-3)
        # Neighbours of one draw of 64 bits are independent of each other.
        lost = (out == 0).flatten()[: 4 * 250_000].view(-1, 4).float()
        off_diagonal = torch.corrcoef(lost.T) - torch.eye(4)
        assert off_diagonal.abs().max() < 0.01
    assert dropout(ones, 0.0) is ones
    torch.testing.assert_close(dropout(ones, 0.1, onto=ones).mean(), torch.tensor(2.0), atol=5e-3,
                               rtol=0)  # fmt: skip


def test_dropout_in_training_has_the_spread_of_its_own_modules() -> None:
    torch.manual_seed(0)
    model = bert(hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.2)
    text = tokens(model)
    spreads, means = [], []
    for fast in (True, False):
        encoder = TextEncoder(transformer=model, fast=fast).train()
        with torch.no_grad():
            draws = torch.stack([encoder(text) for _ in range(800)])
        spreads.append(draws.std(dim=0))
        means.append(draws.mean(dim=0))
    assert spreads[0].mean().item() == pytest.approx(spreads[1].mean().item(), rel=0.05)
    noise = spreads[1] * (2 / 800) ** 0.5
    assert ((means[0] - means[1]).abs() < 5 * noise).all()


def test_the_same_seed_draws_the_same_dropout() -> None:
    model = bert(hidden_dropout_prob=0.2)
    encoder = TextEncoder(transformer=model).train()
    outs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        outs.append(encoder(tokens(model)))
    assert torch.equal(outs[0], outs[1])
    assert not torch.equal(outs[0], outs[2])


@pytest.mark.skipif(
    torch.__version__.startswith(("2.2.", "2.3.")),
    reason="torch below 2.4: fused on CUDA only",
)
def test_kept_weights_are_never_stale() -> None:
    torch.manual_seed(0)
    model = bert()
    encoder, text = TextEncoder(transformer=model).eval(), tokens(model)
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=0.1, fused=True)
    for _ in range(2):
        with torch.no_grad(), encoder.unchanged():
            assert torch.equal(encoder(text), encoder(text))
        encoder(text).sum().backward()
        optimiser.step()  # which does not tell a tensor's version
    with torch.no_grad(), encoder.unchanged():
        torch.testing.assert_close(
            encoder(text), TextEncoder(transformer=model, fast=False).eval()(text)
        )


def test_a_copy_computes_with_its_own_weights() -> None:
    model = bert()
    encoder, text = TextEncoder(transformer=model).eval(), tokens(model)
    before = encoder(text)
    other = copy.deepcopy(encoder)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert torch.equal(encoder(text), before)
    assert other(text).abs().max() == 0


def test_rows_are_filled_up_to_few_sizes() -> None:
    attended = torch.arange(12)[None] < torch.tensor([[12], [5], [0]])
    packing = pack(attended)
    assert packing.tokens == 12 + 5 + 1
    assert packing.longest == 12
    assert len(packing.places) == len(packing.back) == ROWS
    assert packing.firsts.tolist() == [0, 12, 17]
    assert packing.places[:18].tolist() == [*range(12), *range(12, 17), 24]


def text_ids() -> Tensor:
    return tokens(bert())[:, 0]


class TestWordRows:
    """Only the words that occur are trained; all that is saved is the whole table."""

    @staticmethod
    def trained(*, only: bool, steps: int = 3) -> TextEncoder:
        torch.manual_seed(0)
        encoder = TextEncoder(transformer=bert()).train()
        text = tokens(encoder.transformer)
        if only:
            encoder.train_only(text[:, 0])
        parameters = [p for p in encoder.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.0)
        for _ in range(steps):
            optimiser.zero_grad()
            encoder(text).square().sum().backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
        return encoder

    def test_the_same_words_come_out(self) -> None:
        whole, rows = self.trained(only=False), self.trained(only=True)
        assert rows.words is not None
        assert len(rows.words.rows) < 30 < 60
        expected, found = whole.state_dict(), rows.state_dict()
        assert list(expected) == list(found)
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-6, msg=name)

    def test_what_never_occurs_stays(self) -> None:
        torch.manual_seed(0)
        before = bert().embeddings.word_embeddings.weight.detach().clone()
        encoder = self.trained(only=True)
        table = encoder.state_dict()["transformer.embeddings.word_embeddings.weight"]
        same = (table == before).all(dim=1)
        occurs = torch.zeros(60, dtype=torch.bool)
        occurs[text_ids().unique()] = True
        assert same[~occurs].all()
        # The padding word has no gradient, as in the table.
        assert same[0]
        assert not same[occurs][1:].any()

    def test_other_words_are_known_to_evaluation(self) -> None:
        encoder = self.trained(only=True)
        other = tokens(encoder.transformer)
        other[:, 0] = torch.where(other[:, 1] > 0, (other[:, 0] + 17) % 55 + 5, 0)
        encoder.eval()
        expected = TextEncoder(transformer=encoder.transformer, fast=False).eval()(other)
        torch.testing.assert_close(encoder(other), expected)

    def test_a_saved_table_comes_back(self) -> None:
        saved = {k: v.clone() for k, v in self.trained(only=True).state_dict().items()}
        encoder = self.trained(only=True, steps=1)
        encoder.load_state_dict(saved)
        text = tokens(encoder.transformer)
        expected = TextEncoder(transformer=bert(), fast=True)
        expected.load_state_dict(saved)
        torch.testing.assert_close(encoder.train()(text), expected.train()(text))

    def test_the_table_is_trained_again_afterwards(self) -> None:
        encoder = self.trained(only=True)
        encoder.train_all()
        table = encoder.transformer.embeddings.word_embeddings.weight
        assert table.requires_grad
        encoder(tokens(encoder.transformer)).sum().backward()
        assert table.grad is not None

    def test_a_frozen_encoder_has_no_rows(self) -> None:
        encoder = TextEncoder(transformer=bert(), finetune=False)
        encoder.train_only(text_ids())
        assert encoder.words is None
        assert not any(p.requires_grad for p in encoder.parameters())


@pytest.mark.gpu
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_a_gpu_it_is_its_own_module(training: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = bert(num_hidden_layers=3).cuda().train(training)
    text = tokens(model).cuda()
    outs = []
    for fast in (True, False):
        encoder = TextEncoder(transformer=model, fast=fast).train(training)
        with torch.autocast("cuda", dtype=dtype, enabled=dtype != torch.float32):
            outs.append(encoder(text).float())
    tolerance = 1e-4 if dtype == torch.float32 else 5e-2
    torch.testing.assert_close(*outs, atol=tolerance, rtol=tolerance)
