"""Settings: presets, payloads of requests, and one clear error per mistake."""

import math
from dataclasses import FrozenInstanceError

import pytest

from moi import PRESETS, MoIConfig


def test_presets_are_those_of_the_paper_and_of_its_code():
    assert MoIConfig.preset("official") == MoIConfig("moi", 1.0, 20, "support", "raw") == MoIConfig()
    assert MoIConfig.preset("paper") == MoIConfig("moi", 1.0, 64, "vocab", "sampling")
    assert list(PRESETS) == ["official", "paper"]


def test_a_payload_changes_only_what_it_names():
    base = MoIConfig.preset("paper", beta=2.0)
    assert MoIConfig.from_dict({"policy": "direct"}, base=base) == MoIConfig("direct", 2.0, 64, "vocab", "sampling")
    assert MoIConfig.from_dict({"preset": "paper", "beta": 3}, base=MoIConfig()).top_k == 64
    assert MoIConfig.from_dict({}, base=base) is not None
    assert MoIConfig.from_dict(base.to_dict()) == base


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
        ({"gamma": 1}, ["'gamma'", "policy, beta, top_k, entropy, prior, preset"]),
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
