"""Policies: the published ones, and what a declaration may say."""

import math

import pytest
import torch

import moi
from moi import Parameter, Policy
from moi.policies import BOUNDS, policy_named
from moi.testing import probes


def test_names_and_codes():
    assert moi.policy_names() == ["token", "moi", "direct", "soft", "selar", "router", "gumbel", "multiplex"]
    assert [moi.policy_code(name) for name in moi.policy_names()] == list(range(len(moi.policy_names())))
    assert moi.policy_codes(["direct", "token"]).tolist() == [2, 0]


def test_zero_means_plain_decoding_so_that_zeroed_tables_are_safe():
    assert moi.policy_code("token") == 0


@pytest.mark.parametrize("policy", moi.load_policies(), ids=lambda policy: policy.name)
def test_the_weights_of_a_policy_sum_to_one(policy):
    logits = torch.randn(6, 40)
    for each in [{}] + [{p.name: value} for p in (*policy.parameters, *BOUNDS) for value in probes(p)]:
        config = moi.MoIConfig(policy.name, **each)
        got = moi.mix(logits, torch.zeros(6).long(), config, uniforms=torch.rand(6, 8 + config.top_k))
        torch.testing.assert_close(got.weights.sum(-1), torch.ones(6))


def test_the_parameters_of_the_published_policies_are_declared():
    assert [(each.name, each.names) for each in moi.load_policies()] == [
        ("token", ()),
        ("moi", ("beta",)),
        ("direct", ()),
        ("soft", ("top_p", "min_p")),
        ("selar", ("threshold", "strength")),
        ("router", ("threshold",)),
        ("gumbel", ("tau",)),
        ("multiplex", ("draws",)),
    ]
    (beta,) = policy_named("moi").parameters
    assert (beta.default, beta.allowed) == (1.0, "a number >= 0")
    assert all(parameter.help for policy in moi.load_policies() for parameter in policy.parameters)


@pytest.mark.parametrize(
    ("parameter", "good", "bad", "allowed"),
    [
        (Parameter("a", 1, low=0), [0, 1.5, math.inf, "inf", 1e300], [-1, math.nan, True, "1", None], "a number >= 0"),
        (Parameter("a", 1, low=0, above=True), [1e-9, 2], [0, -1], "a number > 0"),
        (Parameter("a", 0.5, low=0, high=1), [0, 1], [1.01, -0.1, "inf", 1e300], "a number in [0, 1]"),
        (Parameter("a", 1, low=0, high=1, above=True), [0.01, 1], [0], "a number in (0, 1]"),
        (Parameter("a", 3, low=1, high=8, integer=True), [1, 8.0], [0, 9, 2.5], "an integer in [1, 8]"),
        (Parameter("a", 0, high=4), [-math.inf, 4], [5], "a number <= 4"),
        (Parameter("a", 0), [-7, 7], [math.nan], "a number"),
    ],
    ids=lambda value: value.allowed if isinstance(value, Parameter) else "",
)
def test_values_are_held_to_the_declared_range(parameter, good, bad, allowed):
    assert parameter.allowed == allowed
    for value in good:
        assert parameter.check(value) == (math.inf if value == 1e300 else float(value))
    for value in bad:
        with pytest.raises(ValueError, match="a=") as error:
            parameter.check(value)
        assert str(error.value) == f"a={value!r} is not allowed; a must be {allowed}"
    assert all(parameter.check(value) == value for value in probes(parameter)), "probes are allowed"


@pytest.mark.parametrize(
    ("declare", "words"),
    [
        (lambda: Parameter("top_k", 1), ["'top_k'", "not allowed"]),
        (lambda: Parameter("No Word", 1), ["'No Word'", "lower-case"]),
        (lambda: Parameter("a", 2, high=1), ["a=2", "<= 1"]),
        (lambda: Policy("Half", lambda prior: (0, prior)), ["'Half'", "lower-case"]),
        (lambda: Policy("half", lambda prior, share: (0, prior)), ["'half'", "'share'", "prior, entropy, rank"]),
        (lambda: Policy("half", lambda prior: (0, prior), (Parameter("a", 1),) * 2), ["'half'", "twice"]),
        (lambda: Policy("half", lambda prior: (0, prior), BOUNDS[:1]), ["'half'", "'min_entropy'", "every policy"]),
        (lambda: Policy("half", lambda prior, uniforms: (0, prior)), ["'half'", "'uniforms'", "u0, u1"]),
        (lambda: Policy("half", lambda prior, other: (0, prior)), ["'half'", "'other'", "normalised=True"]),
    ],
)
def test_a_declaration_that_cannot_be_served_says_why(declare, words):
    with pytest.raises(ValueError) as error:
        declare()
    assert all(word in str(error.value) for word in words), str(error.value)


def mixed(policy, logits, token=0, **settings):
    token, top_k = torch.full((len(logits),), token), logits.shape[1]
    drawn = moi.uniforms(torch.arange(len(logits)), token, top_k)
    return moi.mix(logits, token, moi.MoIConfig(policy, top_k=top_k, **settings), uniforms=drawn)


@pytest.mark.parametrize("policy", moi.policy_names())
@pytest.mark.parametrize(
    ("bounds", "fed"), [((0.6, 1), [False, True]), ((0, 0.6), [True, False]), ((0, 1), [True] * 2)]
)
def test_rows_outside_the_bounds_of_entropy_are_fed_plainly(policy, bounds, fed):
    logits = torch.tensor([[4.0, 0.0, 0.0, -1.0], [0.3, 0.2, 0.1, 0.0]])
    low, high = bounds
    free, bound = mixed(policy, logits), mixed(policy, logits, min_entropy=low, max_entropy=high)
    assert (free.entropy > 0.6).tolist() == [False, True]
    plain = torch.eye(1, 5).expand(2, 5)
    assert torch.equal(bound.weights, torch.where(torch.tensor(fed)[:, None], free.weights, plain))
    assert torch.equal(bound.entropy, free.entropy)


def test_bounds_may_differ_from_row_to_row():
    logits = torch.zeros(3, 4)
    got = moi.mix(
        logits,
        torch.zeros(3).long(),
        moi.MoIConfig("direct", top_k=4),
        parameters={"max_entropy": torch.tensor([1, 0.5, 1])},
    )
    assert got.weights[:, 0].tolist() == [0, 1, 0]


def test_soft_keeps_the_mass_it_is_told_and_renormalises():
    logits = torch.tensor([[0.5, 0.25, 0.15, 0.1]]).log()
    for top_p, kept in ((1e-6, 1), (0.5, 1), (0.51, 2), (0.75, 2), (0.9, 3), (1, 4)):
        got = mixed("soft", logits, token=3, top_p=top_p, min_p=0).weights[0]
        want = torch.tensor([0.5, 0.25, 0.15, 0.1])[:kept]
        torch.testing.assert_close(got[1 : kept + 1], want / want.sum())
        assert (got[0], got[kept + 1 :].tolist()) == (0, [0.0] * (4 - kept))
    assert mixed("soft", logits, min_p=0.31).weights[0, 1:].gt(0).tolist() == [True, True, False, False]
    assert mixed("soft", logits, min_p=1).weights.tolist() == [[0, 1, 0, 0, 0]]


def test_equal_candidates_are_cut_alike_everywhere():
    """19 of 20 make 0.95, whatever a sum of twentieths rounds to."""
    kept = moi.mix(torch.zeros(1, 50), torch.zeros(1).long(), moi.MoIConfig("soft")).weights[0]
    torch.testing.assert_close(kept, torch.tensor([0.0] + [1 / 19] * 19 + [0.0]))


def test_selar_pushes_away_from_the_best_where_the_entropy_is_high():
    logits = torch.tensor([[1.0, 0.5, 0.0, -0.5], [9.0, 0.0, 0.0, 0.0]])
    p, plain = logits.softmax(-1), torch.tensor([1.0, 0, 0, 0, 0])
    got = mixed("selar", logits, threshold=0.3, strength=2)
    push = 2 * got.entropy[0]
    torch.testing.assert_close(got.weights[0, 1:], (1 + push) * p[0] - push * torch.tensor([1.0, 0, 0, 0]))
    assert got.weights[0, 1] < 0 < got.weights[0, 2]
    assert torch.equal(got.weights[1], plain)
    assert mixed("selar", logits, threshold=1).weights.tolist() == [plain.tolist()] * 2
    assert torch.equal(mixed("selar", logits, threshold=0, strength=0).weights, mixed("direct", logits).weights)


def test_router_mixes_where_the_best_candidate_is_likely():
    logits = torch.tensor([[0.6, 0.4], [0.45, 0.55], [0.5, 0.5]]).log()
    got, direct = mixed("router", logits, threshold=0.58).weights, mixed("direct", logits).weights
    assert torch.equal(got[0], direct[0])
    assert got[1:].tolist() == [[1, 0, 0]] * 2
    assert torch.equal(mixed("router", logits, threshold=0).weights, direct)
    assert mixed("router", logits, threshold=1).weights.tolist() == [[1, 0, 0]] * 3


@pytest.mark.parametrize("policy", ["soft", "selar", "router", "direct"])
def test_certainty_is_the_best_candidate_alone(policy):
    got = mixed(policy, torch.tensor([[0.0, -200.0, -300.0]]), token=2)
    assert (got.entropy.item(), got.weights.sum().item()) == (0, 1)
    assert got.weights[0].tolist() == ([1, 0, 0, 0] if policy == "selar" else [0, 1, 0, 0])


@pytest.mark.parametrize("policy", ["gumbel", "multiplex"])
def test_certainty_leaves_nothing_else_to_draw(policy):
    got = mixed(policy, torch.tensor([[0.0, -200.0, -300.0]]), token=0)
    assert got.entropy.item() == 0
    assert moi.embed(got, torch.eye(3)).tolist() == [[1, 0, 0]], "the token, by whichever of its places"


def test_shares_that_sum_to_nothing_are_plain():
    from moi.mixture import _normalised

    own, rest = _normalised(torch.zeros(2, 1), torch.tensor([[0.0, 0.0], [1.0, 3.0]]))
    assert torch.cat([own, rest], 1).tolist() == [[1, 0, 0], [0, 0.25, 0.75]]
