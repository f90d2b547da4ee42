"""The reference: hand-worked numbers, the float64 restatement, and the properties of the method."""

import itertools
import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

import moi
from moi.testing import CASES, TOLERANCES, assert_embedding, assert_mixture, oracle_embed, oracle_mix

LN = math.log
REFERENCE = {"implementation": "reference"}


def logits_of(*probabilities: float) -> torch.Tensor:
    return torch.tensor([probabilities]).log()


def test_numbers_worked_by_hand():
    """p = (1/2, 1/4, 1/4), K = 3: H = (0.5 ln 2 + 0.5 ln 4) / ln 3, and y = 1 also stands in the candidates."""
    got = moi.mix(logits_of(0.5, 0.25, 0.25), torch.tensor([1]), moi.MoIConfig(top_k=3), **REFERENCE)
    h = (0.5 * LN(2) + 0.5 * LN(4)) / LN(3)
    assert got.ids.tolist() == [[1, 0, 1, 2]]
    assert got.entropy.tolist() == pytest.approx([h])
    assert got.weights[0].tolist() == pytest.approx([(2 - h) / 2, h / 4, h / 8, h / 8])
    assert got.intervention.tolist() == pytest.approx([1 - (2 - h) / 2 - h / 8])


def test_uniform_distributions_have_entropy_one_in_both_measures():
    for entropy in ("support", "vocab"):
        config = moi.MoIConfig(top_k=4, entropy=entropy)
        got = moi.mix(torch.zeros(1, 4), torch.tensor([2]), config, beta=3.0, **REFERENCE)
        assert got.entropy.tolist() == pytest.approx([1.0])
        assert got.weights[0].tolist() == pytest.approx([0.75, *[0.0625] * 4])


def test_the_sampling_prior_uses_the_temperature_and_greedy_rows_do_not():
    logits = logits_of(0.8, 0.2).repeat(3, 1)
    config = moi.MoIConfig(policy="direct", top_k=2, prior="sampling")
    got = moi.mix(logits, torch.zeros(3).long(), config, temperature=torch.tensor([0.5, 1.0, 0.0]), **REFERENCE)
    sharp = 0.8**2 / (0.8**2 + 0.2**2)
    assert got.weights[:, 1].tolist() == pytest.approx([sharp, 0.8, 0.8])


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_reference_equals_its_restatement(case, dtype):
    inputs = case.inputs(dtype)
    settings = inputs.rows._asdict()
    got = moi.mix(inputs.logits, inputs.token, case.config, **settings, **REFERENCE)
    assert_mixture(got, oracle_mix(inputs, case.config))
    table = case.table(24, dtype)
    assert_embedding(moi.embed(got, table, **REFERENCE), oracle_embed(got, table))


finite = st.floats(-80, 80, width=32)
rows = hnp.arrays("float32", st.tuples(st.integers(1, 4), st.integers(1, 30)), elements=finite)
betas = st.floats(0, 1e6)


@given(rows, betas, st.data())
@settings(max_examples=150, deadline=None)
def test_properties_of_any_finite_row(array, beta, data):
    logits = torch.from_numpy(array)
    count, vocab = logits.shape
    policy = data.draw(st.sampled_from(moi.policy_names()))
    config = moi.MoIConfig(
        policy,
        parameters={"beta": beta} if policy == "moi" else {},
        top_k=data.draw(st.integers(1, vocab)),
        entropy=data.draw(st.sampled_from(["support", "vocab"])),
        prior=data.draw(st.sampled_from(["raw", "sampling"])),
    )
    token = torch.tensor(data.draw(st.lists(st.integers(0, vocab - 1), min_size=count, max_size=count)))
    temperature = data.draw(st.floats(0, 3))
    drawn = moi.uniforms(torch.arange(count), token, config.top_k)
    got = moi.mix(logits, token, config, temperature=temperature, uniforms=drawn, **REFERENCE)
    assert torch.isfinite(got.weights).all()
    assert (got.weights >= 0).all() or config.policy == "selar"
    assert got.weights.sum(-1).tolist() == pytest.approx([1.0] * count, abs=1e-5)
    assert ((got.entropy >= 0) & (got.entropy <= 1)).all()
    assert torch.equal(got.ids[:, 0], token.int())
    if config.policy == "moi":
        assert (got.intervention <= 1 / (beta + 1) + 1e-5).all()
    order = sorted(range(vocab), key=lambda i: (-array[0, i], i))[: config.top_k]
    assert got.ids[0, 1:].tolist() == order


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("policy", ["moi", "token"])
def test_infinite_beta_plain_rows_and_zero_entropy_give_the_embedding_of_y_bit_for_bit(dtype, policy):
    table = torch.randn(50, 16).to(dtype)
    token = torch.arange(8)
    flat, sharp = torch.randn(8, 50), torch.full((8, 50), -math.inf).scatter(1, token[:, None], 1.0)
    for logits, beta in ((flat, math.inf), (flat, 3e38), (sharp, 0.0)):
        got = moi.mix(logits, token, moi.MoIConfig(policy), beta=beta, **REFERENCE)
        assert torch.equal(moi.embed(got, table, **REFERENCE), table[token])


def test_a_token_outside_the_candidates_keeps_the_whole_mass():
    logits = torch.arange(100.0).repeat(1, 1)
    got = moi.mix(logits, torch.tensor([0]), moi.MoIConfig(top_k=5), **REFERENCE)
    assert got.ids.tolist() == [[0, 99, 98, 97, 96, 95]]
    assert got.weights.sum().item() == pytest.approx(1.0)


def test_direct_over_the_whole_vocabulary_is_the_expected_embedding():
    logits, table = torch.randn(4, 30), torch.randn(30, 8)
    config = moi.MoIConfig("direct", top_k=30)
    got = moi.embed(moi.mix(logits, torch.zeros(4).long(), config, **REFERENCE), table, **REFERENCE)
    torch.testing.assert_close(got, logits.softmax(-1) @ table)


def test_rows_of_one_batch_do_not_influence_each_other():
    case = CASES[0]
    inputs = case.inputs()
    together = moi.mix(inputs.logits, inputs.token, case.config, **inputs.rows._asdict(), **REFERENCE)
    for i in range(case.rows):
        alone = moi.mix(
            inputs.logits[i : i + 1],
            inputs.token[i : i + 1],
            case.config,
            **inputs.rows.select(torch.tensor([i]))._asdict(),
            **REFERENCE,
        )
        assert all(torch.equal(a[0], b[i]) for a, b in zip(alone, together, strict=True))


def test_a_row_without_any_finite_logit_decodes_plainly():
    logits = torch.full((3, 10), -math.inf)
    for policy in moi.policy_names():
        config = moi.MoIConfig(policy, top_k=3)
        got = moi.mix(logits, torch.tensor([4, 5, 6]), config, uniforms=torch.rand(3, 11), **REFERENCE)
        assert got.weights.tolist() == [[1.0, 0.0, 0.0, 0.0]] * 3


def test_zero_weight_slots_do_not_spread_inf_or_nan():
    table = torch.randn(5, 4)
    table[0], table[1] = math.inf, math.nan
    mixture = moi.Mixture(torch.tensor([[2, 0, 1]]).int(), torch.tensor([[1.0, 0.0, 0.0]]), torch.zeros(1))
    assert torch.equal(moi.embed(mixture, table, **REFERENCE), table[2:3])


def test_negative_weights_and_repeated_ids_are_legal():
    """Signed weights (SeLaR) and duplicates (Multiplex) pass through the same waist."""
    table = torch.randn(5, 4)
    mixture = moi.Mixture(torch.tensor([[2, 2, 3]]).int(), torch.tensor([[1.5, 0.5, -1.0]]), torch.zeros(1))
    torch.testing.assert_close(moi.embed(mixture, table, **REFERENCE), 2 * table[2:3] - table[3:4])


@given(st.lists(st.integers(0, 40), max_size=3), st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_shards_sum_to_the_whole(cuts, padding):
    table = torch.randn(40, 8)
    mixture = moi.mix(torch.randn(6, 40), torch.arange(6), moi.MoIConfig(top_k=10), **REFERENCE)
    edges = sorted({0, 40, *cuts})
    total = torch.zeros(6, 8)
    for shard in itertools.pairwise(edges):
        local = torch.cat([table[slice(*shard)], torch.full((padding, 8), math.nan)])
        total += moi.embed(mixture, local, shard=shard, **REFERENCE)
    torch.testing.assert_close(total, moi.embed(mixture, table, **REFERENCE), atol=2e-6, rtol=1e-5)
