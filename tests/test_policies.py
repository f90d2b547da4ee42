"""Policies: the published ones, and what a declaration may say."""

import math

import pytest
import torch

import moi
from moi import Parameter, Policy
from moi.policies import policy_named
from moi.testing import probes


def test_names_and_codes():
    assert moi.policy_names() == ["token", "moi", "direct"]
    assert [moi.policy_code(name) for name in moi.policy_names()] == [0, 1, 2]
    assert moi.policy_codes(["direct", "token"]).tolist() == [2, 0]


def test_zero_means_plain_decoding_so_that_zeroed_tables_are_safe():
    assert moi.policy_code("token") == 0


@pytest.mark.parametrize("policy", moi.load_policies(), ids=lambda policy: policy.name)
def test_the_weights_of_a_policy_sum_to_one(policy):
    logits = torch.randn(6, 40)
    for each in [{}] + [{p.name: value} for p in policy.parameters for value in probes(p)]:
        got = moi.mix(logits, torch.zeros(6).long(), moi.MoIConfig(policy.name, **each))
        torch.testing.assert_close(got.weights.sum(-1), torch.ones(6))


def test_the_parameters_of_the_published_policies_are_declared():
    assert [(each.name, each.names) for each in moi.load_policies()] == [
        ("token", ()),
        ("moi", ("beta",)),
        ("direct", ()),
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
        (lambda: Policy("half", lambda prior: (0, prior), uniforms=1), ["'half'", "draws"]),
        (lambda: Policy("half", lambda prior, uniforms: (0, prior)), ["'half'", "draws"]),
    ],
)
def test_a_declaration_that_cannot_be_served_says_why(declare, words):
    with pytest.raises(ValueError) as error:
        declare()
    assert all(word in str(error.value) for word in words), str(error.value)
