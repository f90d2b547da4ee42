"""How settings go to each kind of server, and token ids there and back."""

from __future__ import annotations

from typing import Any

import pytest

from moi_engines import SamplingParams
from moi_engines.servers import DIALECTS, Question

SETTINGS = {"policy": "soft", "top_p": 0.9, "per_token": True}
TOLD = {"mean_entropy": 0.5, "entropy": [0.25, 0.75], "intervention": [0.0, 0.5]}


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("sglang", {"custom_params": {"moi": SETTINGS}}),
        ("vllm", {"vllm_xargs": {"moi_policy": "soft", "moi_top_p": 0.9, "moi_per_token": True}}),
    ],
)
def test_settings_are_one_field_and_none_is_none(kind: str, field: dict[str, Any]) -> None:
    dialect = DIALECTS[kind]
    assert dialect.fields(SETTINGS) == field
    assert dialect.fields({}) == {}
    _, body = dialect.request(Question("x", True, SamplingParams(), SETTINGS), "m")
    assert field.items() <= body.items()
    _, body = dialect.request(Question("x", True, SamplingParams()), "m")
    assert not body.keys() & field.keys()


@pytest.mark.parametrize(
    ("kind", "path", "wanted", "raw"),
    [
        ("sglang", "generate", {"input_ids": [5, 9]}, {"output_ids": [7, 8], "meta_info": {"moi": TOLD}}),
        (
            "vllm",
            "v1/completions",
            {"prompt": [5, 9], "return_token_ids": True},
            {"choices": [{"token_ids": [7, 8]}], "kv_transfer_params": {"moi": [TOLD]}},
        ),
    ],
)
def test_token_ids_are_answered_with_token_ids_and_their_numbers(
    kind: str, path: str, wanted: dict[str, Any], raw: dict[str, Any]
) -> None:
    dialect = DIALECTS[kind]
    asked, body = dialect.request(Question([5, 9], False, SamplingParams(), SETTINGS), "m")
    assert asked == path
    assert wanted.items() <= body.items()
    assert "text" not in body
    assert dialect.tokens(raw) == ([7, 8], [0.25, 0.75], [0.0, 0.5])
    with pytest.raises(KeyError):
        dialect.tokens({"meta_info": {}, "kv_transfer_params": {}})
