"""Settings against a model's vocabulary, and against the engines of a process."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from moi import MoIConfig
from moi_serving.settings import RequestSettings, ServerSettings, check_vocabulary, request_settings, too_large
from moi_sglang.requests import RequestValidation

VOCAB = 512


def validate(validation: RequestValidation, settings: Any) -> None:
    params = SimpleNamespace(custom_params=None if settings is None else {"moi": settings}, beam_width=None)
    validation.verify(None, params, VOCAB)


def test_a_server_is_not_started_with_what_no_request_could_have() -> None:
    assert too_large(ServerSettings(MoIConfig(top_k=20), 511), VOCAB) == {}
    assert too_large(ServerSettings(MoIConfig(top_k=20), 512), VOCAB) == {"until": 512}
    assert too_large(ServerSettings(MoIConfig(top_k=20), "think_end"), 19) == {"top_k": 20}


def test_only_a_request_that_mixes_needs_its_last_token() -> None:
    check_vocabulary(RequestSettings(MoIConfig("token"), 700), VOCAB)
    check_vocabulary(RequestSettings(MoIConfig(), 511), VOCAB)
    with pytest.raises(ValueError, match="until=700 is not allowed; the model's vocabulary has 512 ids"):
        check_vocabulary(RequestSettings(MoIConfig(), 700), VOCAB)


@pytest.mark.parametrize("given", [None, {}, {"other": 1}, {"moi": {}}, {"moi": {"per_token": False}}])
def test_the_numbers_of_each_token_are_for_those_who_ask(given: Any) -> None:
    assert not request_settings(given, ServerSettings()).per_token
    assert request_settings({"moi": {"per_token": True}}, ServerSettings()).per_token


def test_a_process_with_two_engines_takes_what_suits_one_of_them() -> None:
    """The scheduler of the one that it is for has the last word."""
    validation = RequestValidation()
    validate(validation, {"nonsense": 1})  # no engine of this process mixes
    validation.serve(ServerSettings(MoIConfig("moi")))
    with pytest.raises(ValueError, match="policy 'moi' has no parameter 'tau'"):
        validate(validation, {"tau": 0.3})
    validation.serve(ServerSettings(MoIConfig("gumbel")))
    for settings in (None, {"tau": 0.3}, {"beta": 2.0}, {"policy": "token"}):
        validate(validation, settings)
    with pytest.raises(ValueError, match="moi key 'sigma' is unknown"):
        validate(validation, {"sigma": 0.3})
