"""A policy that another package brings, in the real server: asked for by HTTP, and as the server's default."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moi import MoIConfig
from moi.policies import registry

SETTINGS: list[dict[str, Any]] = [
    {"policy": "outside", "share": 0.75, "tail": 1.0},
    {},
    {"policy": "outside", "tail": 0.0},
    {"policy": "moi"},
    {"policy": "token"},
    {"tail": 0.5},
]


@pytest.fixture
def installed(outside_package: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """In this process too, whose reference judges the server."""
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(outside_package))
        patch.setattr(registry, "_found", ())
        yield outside_package


def test_requests_for_an_installed_policy_agree(
    ask: Any, agree: Any, make_server: Any, qwen2: Path, installed: Path, sglang_env: Any
) -> None:
    path = os.pathsep.join([sglang_env()["PYTHONPATH"], str(installed)])
    flags = ("--enable-moi", "--moi-policy", "outside", "--moi-param", "share=0.25")
    server_default = MoIConfig("outside", share=0.25)
    prompts = ask.prompts("installed policy", count=len(SETTINGS))
    with make_server(qwen2, *flags, PYTHONPATH=path) as server:
        params = [ask.greedy({**each, "per_token": True}, max_new_tokens=24) for each in SETTINGS]
        outputs = server.generate(prompts, params)
        status, text = server.request(
            "POST", "/generate", {"input_ids": [5], "sampling_params": ask.greedy({"share": 2})}
        )
    configs = [server_default.replace(each) for each in SETTINGS]
    agree(qwen2, prompts, configs, outputs, max_new_tokens=24)
    assert outputs[0]["meta_info"]["moi"]["mean_intervention"] > 0.1
    assert status == 400
    assert "share=2 is not allowed; share must be a number in [0, 1]" in json.loads(text)["error"]["message"]
