"""Settings of a vLLM server and of its requests, which need no vLLM."""

from __future__ import annotations

from typing import Any

import pytest

from moi import MoIConfig
from moi_serving.mixing_marks import Marks
from moi_serving.settings import RequestSettings, ServerSettings
from moi_vllm.settings import asked, check_sent, marks_sent, resolved, sent_marks, server_settings

ON = {"MOI_ENABLE": "1"}


@pytest.mark.parametrize(
    ("given", "environ", "wanted"),
    [
        ({}, {}, None),
        ({"moi": False}, ON, None),
        ({}, {"MOI_ENABLE": "no", "MOI_BETA": "2"}, None),
        ({"moi": {}}, {}, ServerSettings()),
        ({"moi": True}, {}, ServerSettings()),
        ({}, ON, ServerSettings()),
        ({}, {**ON, "MOI_BETA": "2", "MOI_UNTIL": "7"}, ServerSettings(MoIConfig(beta=2), 7)),
        ({"moi": {"beta": 3}}, {"MOI_BETA": "2", "MOI_TOP_K": "5"}, ServerSettings(MoIConfig(beta=3, top_k=5))),
        ({}, {**ON, "MOI_POLICY": "gumbel", "MOI_PARAM_TAU": "2"}, ServerSettings(MoIConfig("gumbel", tau=2))),
        ({"moi": {"preset": "paper", "until": "think_end", "allow_untested": True}}, {}, "paper"),
    ],
)
def test_the_flag_comes_before_the_environment(given: Any, environ: Any, wanted: Any) -> None:
    if wanted == "paper":
        wanted = ServerSettings(MoIConfig.preset("paper"), "think_end", True)
    found = server_settings(given, environ)
    assert found == wanted
    if found is not None:  # what travels says the same in a process whose environment says something else
        assert server_settings({"moi": resolved(found)}, {"MOI_BETA": "9", "MOI_UNTIL": "3"}) == found


def test_a_request_has_flat_keys() -> None:
    server = ServerSettings(MoIConfig("token"))
    assert asked({}, server) == RequestSettings(MoIConfig("token"))
    assert asked({"other": 1, "moirai": "x", "moibeta": 1}, server) == RequestSettings(MoIConfig("token"))
    found = asked({"moi_beta": 0.5, "moi_until": 9, "moi_per_token": 1, "moi_seed": 4}, server)
    assert found == RequestSettings(MoIConfig(beta=0.5), 9, True, 4)
    assert not asked({"moi_beta": 1}, server).per_token
    assert asked({"moi_policy": "router", "moi_threshold": 0.25}, server).moi == MoIConfig("router", threshold=0.25)


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ({"moi": {"beta": 1}}, "settings of MoI begin with 'moi_'"),
        ({"moi_": 1}, "settings of MoI begin with 'moi_'"),
        ({"moi_entropy": "vocab"}, "is a setting of the server"),
        ({"moi_per_token": 1.0}, "per_token must be true or false"),
        ({"moi_beta": True}, "beta=True is not allowed"),
        ({"moi_seed": 1.5}, "seed must be an integer"),
    ],
)
def test_what_is_wrong_is_named(extra: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=".*".join(reason.split("'"))):
        asked(extra, ServerSettings())


def test_marks_travel_from_the_front_end_alone() -> None:
    thinking = RequestSettings(MoIConfig(), "think_end")
    with pytest.raises(ValueError, match="was not resolved"):
        marks_sent({}, thinking)
    key, value = sent_marks(Marks(5, 6))
    assert marks_sent({key: value}, thinking) == Marks(5, 6)
    assert marks_sent({}, RequestSettings(MoIConfig(), 7)) == Marks(7)
    assert marks_sent({}, RequestSettings(MoIConfig())) == Marks()
    assert asked({key: value, "moi_beta": 1.0}, ServerSettings()) == RequestSettings(MoIConfig(beta=1.0))
    with pytest.raises(ValueError, match="'moi_marks' is unknown"):
        check_sent({key: value})
