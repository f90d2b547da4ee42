"""Two real SGLang servers behind the real sglang-router 0.3.2: what of a request's settings goes through. If another
version passes more on, these tests and docs/scaling.md have news; its successor is in test_sglang_smg.py.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moi.cli import main
from routers import make_router
from server_checks import mixed_tokens

pytest.importorskip("openai")

KIND = ["--server-kind", "sglang"]  # the router answers /v1/models itself, as "local"
EVAL = ["--n", "3", "--samples", "2", "--max-new-tokens", "12"]


@pytest.fixture(scope="module")
def router(moi_server: Any, second_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a router in front of both."""
    urls = [f"http://127.0.0.1:{server.port}" for server in (moi_server, second_server)]
    with make_router("sglang_router", urls, tmp_path_factory.mktemp("router") / "log") as running:
        yield running.url


def post(url: str, body: dict[str, Any]) -> tuple[int, str]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_settings_are_dropped_from_chats_and_from_generate_and_doctor_sees_it(
    capsys: pytest.CaptureFixture[str], router: str
) -> None:
    assert main(["doctor", "--server", router, *KIND, "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["mixes"] == {"chat": False, "text": False}
    found = {(each["way"], each["request"]): each["found"] for each in report["requests"]}
    assert "without telemetry" in found["chat", "mixing"]
    assert "mixed 3 tokens of a request for plain decoding" in found["text", "plain"]  # by the servers' flags
    assert "answered with 4 tokens" in found["chat", "bad"]
    assert "answered with 4 tokens" in found["text", "bad"]


def test_settings_survive_completions(router: str, moi_server: Any, second_server: Any) -> None:
    body = {"model": "tiny", "prompt": "abc", "max_tokens": 8, "ignore_eos": True}
    status, text = post(f"{router}/v1/completions", {**body, "custom_params": {"moi": {"beta": -1}}})
    assert (status, "beta=-1 is not allowed" in text) == (400, True), text
    for policy, grows in (("token", False), ("moi", True)):
        before = mixed_tokens(moi_server) + mixed_tokens(second_server)
        status, text = post(f"{router}/v1/completions", {**body, "custom_params": {"moi": {"policy": policy}}})
        assert status == 200, text
        assert (mixed_tokens(moi_server) + mixed_tokens(second_server) > before) == grows


@pytest.mark.parametrize(
    ("prompt", "policies", "words"),
    [
        ("chat", ["token", "moi"], "without telemetry"),
        ("chat", ["token"], "without the telemetry it asked for"),  # the servers' flags mix it, and nothing says so
        ("plain", ["token", "moi"], "mixed 3 tokens of a request for plain decoding"),
    ],
)
def test_a_router_that_drops_settings_is_noticed_before_a_problem_is_scored(
    capsys: pytest.CaptureFixture[str], router: str, tmp_path: Path, prompt: str, policies: list[str], words: str
) -> None:
    out = tmp_path / "r.jsonl"
    argv = ["eval", "countdown", *EVAL, "--policy", *policies, "--server", router, *KIND, "--prompt", prompt]
    assert main([*argv, "--out", str(out)]) == 2
    assert words in capsys.readouterr().err
    assert not out.exists()
