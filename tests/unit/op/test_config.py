"""Settings: presets, payloads of requests, and one clear error per mistake."""

import copy
import dataclasses
import math
import pickle
from dataclasses import FrozenInstanceError

import pytest

from moi import PRESETS, MoIConfig


def test_presets_are_those_of_the_paper_and_of_its_code():
    official = MoIConfig("moi", beta=1.0, top_k=20, entropy="support", prior="raw")
    assert MoIConfig.preset("official") == official == MoIConfig()
    assert MoIConfig.preset("paper") == MoIConfig("moi", beta=1.0, top_k=64, entropy="vocab", prior="sampling")
    assert list(PRESETS) == ["official", "paper"]


def test_a_payload_changes_only_what_it_names():
    base = MoIConfig.preset("paper", beta=2.0)
    paper = {"top_k": 64, "entropy": "vocab", "prior": "sampling"}
    assert MoIConfig.from_dict({"policy": "direct"}, base=base) == MoIConfig("direct", **paper)
    assert MoIConfig.from_dict({"policy": "moi", "top_k": 3}, base=base).beta == 2.0
    assert MoIConfig.from_dict({"preset": "paper", "beta": 3}, base=MoIConfig()).top_k == 64
    assert MoIConfig.from_dict({}, base=base) is not None
    assert MoIConfig.from_dict(base.to_dict()) == base


def test_a_config_is_flat_as_a_dict_and_reads_its_parameters_by_name():
    assert MoIConfig(beta=2).to_dict() == {
        "policy": "moi",
        "beta": 2.0,
        "top_k": 20,
        "entropy": "support",
        "prior": "raw",
    }
    assert MoIConfig("direct").to_dict() == {"policy": "direct", "top_k": 20, "entropy": "support", "prior": "raw"}
    assert MoIConfig(beta=2).beta == 2.0
    with pytest.raises(AttributeError, match="'direct' has no 'beta'"):
        _ = MoIConfig("direct").beta


@pytest.mark.parametrize("config", [MoIConfig(beta=0.5), MoIConfig("direct", top_k=3), PRESETS["paper"]], ids=repr)
def test_a_config_survives_dicts_pickles_copies_and_replacement(config):
    assert MoIConfig.from_dict(config.to_dict()) == config
    assert pickle.loads(pickle.dumps(config)) == copy.deepcopy(config) == config
    assert dataclasses.replace(config, top_k=7) == config.replace(top_k=7) != config
    assert hash(config) == hash(config.replace())
    assert eval(repr(config)) == config


def test_infinite_beta_is_plain_decoding_and_allowed():
    assert math.isinf(MoIConfig(beta=math.inf).beta)


def test_settings_cannot_be_changed_behind_the_checks():
    with pytest.raises(FrozenInstanceError):
        MoIConfig().beta = -1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({"beta": -0.5}, ["beta=-0.5", ">= 0"]),
        ({"beta": math.nan}, ["beta=nan", ">= 0"]),
        ({"beta": 10**400}, ["beta is an integer of more than 308 digits", ">= 0"]),
        ({"beta": "1"}, ["beta='1'", ">= 0"]),
        ({"beta": True}, ["beta=True", ">= 0"]),
        ({"top_k": 0}, ["top_k=0", "1..64"]),
        ({"top_k": 65}, ["top_k=65", "1..64"]),
        ({"top_k": 2.0}, ["top_k=2.0", "1..64"]),
        ({"policy": "mio"}, ["policy='mio'", "token, moi, direct"]),
        ({"policy": ["moi"]}, ["policy=['moi']", "token, moi, direct"]),
        ({"entropy": "half"}, ["entropy='half'", "support, vocab"]),
        ({"prior": "cooked"}, ["prior='cooked'", "raw, sampling"]),
        ({"preset": "best"}, ["preset='best'", "official, paper"]),
        ({"gamma": 1}, ["'gamma'", "policy, beta, top_k, entropy, prior, preset", "'moi'"]),
        ({"policy": "direct", "beta": 1}, ["'direct'", "'beta'", "its parameters: none"]),
        ({"policy": "token", "gamma": 1}, ["'token'", "'gamma'", "policy, top_k, entropy, prior, preset"]),
        ({"parameters": {"beta": 1}}, ["'parameters'", "policy, beta, top_k, entropy, prior, preset"]),
        ({"self": 1}, ["'self'", "policy, beta"]),
        ({1: 1}, ["1", "policy, beta"]),
        ("beta=1", ["moi='beta=1'", "dict"]),
    ],
)
def test_a_bad_payload_names_the_key_the_value_and_what_is_allowed(payload, words):
    with pytest.raises(ValueError) as error:
        MoIConfig.from_dict(payload)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_an_unknown_preset_is_refused():
    with pytest.raises(ValueError, match=r"preset='fast' is unknown; allowed: official, paper"):
        MoIConfig.preset("fast")


def test_betas_beyond_float32_are_infinite():
    assert math.isinf(MoIConfig(beta=1e39).beta)
    assert math.isinf(MoIConfig.from_dict({"beta": "inf"}).beta)
    assert MoIConfig(beta=3.4e38).beta == 3.4e38
    assert MoIConfig(beta=0.0).to_dict()["beta"] == 0.0
