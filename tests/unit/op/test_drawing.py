"""Policies that draw: their noise has the distribution it should, and goes with the token that was sampled."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from torch import Tensor

import moi
from moi.policies import gumbel, multiplex

COUNT = 20_000
# No seed is picked: a right policy fails one of these in a million runs.
RARE = 1e-7
P = torch.tensor([0.6, 0.25, 0.1, 0.04, 0.01], dtype=torch.float64)


def perturbed(p: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens y [N] drawn from p [K], and perturbed logits [N,K] drawn given them, read off the weights at tau = 1."""
    y = torch.multinomial(p, COUNT, replacement=True)
    drawn = moi.uniforms(torch.randint(1 << 40, (COUNT,)), y, len(p)).double()
    top, own = drawn[:, :1], drawn[:, 8:]
    other = (torch.arange(len(p)) != y[:, None]).double()
    _, shares = gumbel.weights(p.expand(COUNT, -1), other, own, top, torch.tensor(1.0, dtype=torch.float64))
    largest = -torch.log(-torch.log(top))
    return y, torch.where(other > 0, shares.log() + largest, largest)


def test_gumbel_given_the_token_is_as_if_the_noise_had_chosen_it() -> None:
    y, z = perturbed(P)
    assert torch.equal(z.argmax(1), y), "the token is the argmax"
    free = torch.distributions.Gumbel(0.0, 1.0).sample((COUNT,))
    for place in range(len(P)):
        found = stats.ks_2samp((z - P.log())[:, place].numpy(), free.numpy())
        assert found.pvalue > RARE, f"candidate {place}: {found}"
    noise = torch.exp(-torch.exp(-(z - P.log())))  # uniform again, so that correlations have a bound
    others = torch.corrcoef(noise.T).fill_diagonal_(0)
    assert others.abs().max() < 6 / COUNT**0.5, "independent of each other"


def test_noise_that_does_not_know_the_token_is_found_out() -> None:
    """The test above would see the obvious mistake: Gumbel noise that is not cut off below the token's."""
    y = torch.multinomial(P, COUNT, replacement=True)
    z = P.log() + torch.distributions.Gumbel(0.0, 1.0).sample((COUNT, len(P)))
    z = z.scatter(1, y[:, None], z.max(1, keepdim=True).values.double())
    free = torch.distributions.Gumbel(0.0, 1.0).sample((COUNT,))
    assert any(stats.ks_2samp((z - P.log())[:, i].numpy(), free.numpy()).pvalue < RARE for i in range(len(P)))


def mixed(policy: str, token: Tensor, **settings: float) -> moi.Mixture:
    logits = P.log().float().expand(len(token), -1)
    drawn = moi.uniforms(torch.randint(1 << 40, token.shape), token, len(P))
    return moi.mix(logits, token, moi.MoIConfig(policy, top_k=len(P), **settings), uniforms=drawn)


def test_the_candidate_that_is_the_token_has_its_share_once() -> None:
    token = torch.arange(200) % 5
    got = mixed("gumbel", token)
    same = got.ids[:, 1:] == got.ids[:, :1]
    assert same.sum(1).tolist() == [1] * 200
    assert (got.weights[:, 1:][same] == 0).all()
    assert (got.weights[:, :1] >= got.weights[:, 1:]).all()


def test_a_token_that_is_no_candidate_takes_part() -> None:
    logits = torch.arange(30.0)[None].expand(50, -1) / 5
    drawn = moi.uniforms(torch.arange(50), torch.arange(50), 4)
    got = moi.mix(logits, torch.zeros(50).long(), moi.MoIConfig("gumbel", top_k=4, tau=1.5), uniforms=drawn)
    assert (got.weights[:, :1] >= got.weights[:, 1:]).all()
    assert (got.intervention > 0).all()


def test_near_tau_0_the_token_alone_is_fed_and_at_large_tau_all_alike() -> None:
    drawn = moi.uniforms(torch.arange(300), torch.zeros(300).long(), 5).double()
    p, other = P.expand(300, -1), torch.ones(300, 5, dtype=torch.float64)
    for tau, share in ((1e-13, 0.0), (1e6, 1.0)):
        _, others = gumbel.weights(p, other, drawn[:, 8:], drawn[:, :1], torch.tensor(tau, dtype=torch.float64))
        torch.testing.assert_close(others, torch.full_like(others, share), atol=1e-4, rtol=0)


def test_one_draw_is_plain() -> None:
    got = mixed("multiplex", torch.arange(50) % 5, draws=1)
    assert torch.equal(got.weights, torch.eye(1, 6).expand(50, 6))


@pytest.mark.parametrize("draws", range(2, 9))
def test_further_draws_follow_the_prior(draws: int) -> None:
    got = mixed("multiplex", torch.arange(COUNT) % 5, draws=draws)
    assert torch.equal(got.weights[:, 0], torch.full((COUNT,), 1 / draws))
    counts = (got.weights[:, 1:] * draws).round()
    torch.testing.assert_close(counts, got.weights[:, 1:] * draws)
    found = stats.chisquare(counts.sum(0).numpy(), (P * COUNT * (draws - 1)).numpy())
    assert found.pvalue > RARE, found


def test_the_same_seed_and_position_give_the_same_mixture_wherever_the_row_stands() -> None:
    logits, token = torch.randn(6, 40), torch.arange(6)
    seed, position = torch.tensor([5, 6, 5, 2**62, 0, 5]), torch.tensor([9, 9, 9, 3, 2**20, 8])
    for policy in ("gumbel", "multiplex"):
        config = moi.MoIConfig(policy, top_k=10)
        got = moi.mix(logits, token, config, uniforms=moi.uniforms(seed, position, 10))
        for i in range(6):
            drawn = moi.uniforms(seed[i : i + 1], position[i : i + 1], 10)
            alone = moi.mix(logits[i : i + 1], token[i : i + 1], config, uniforms=drawn)
            assert all(torch.equal(a[0], b[i]) for a, b in zip(alone, got, strict=True))
        first, third, last = moi.uniforms(seed, position, 10)[[0, 2, 5]]
        assert torch.equal(first, third)
        assert not torch.equal(first, last)


def test_policies_that_draw_say_so() -> None:
    names = {policy.name: (policy.draws, policy.exclusive) for policy in moi.load_policies()}
    assert {name for name, (draws, _) in names.items() if draws} == {"gumbel", "multiplex"}
    assert {name for name, (_, exclusive) in names.items() if exclusive} == {"gumbel"}
    assert multiplex.POLICY.normalised


def test_what_is_missing_is_named() -> None:
    logits, token = torch.randn(2, 30), torch.zeros(2).long()
    with pytest.raises(ValueError, match="policy='gumbel' draws random numbers; pass uniforms="):
        moi.mix(logits, token, moi.MoIConfig("gumbel"))
    codes = moi.policy_codes(["moi", "multiplex"])
    with pytest.raises(ValueError, match="policy='multiplex' draws"):
        moi.mix(logits, token, policy=codes)
    with pytest.raises(ValueError, match=r"uniforms must be float32 \[2, 28\] on cpu, got torch.float32 \[2, 20\]"):
        moi.mix(logits, token, moi.MoIConfig("gumbel"), uniforms=torch.rand(2, 20))
    with pytest.raises(ValueError, match=r"seed must be torch.int64 \[2\]"):
        moi.uniforms(torch.zeros(2), token)
