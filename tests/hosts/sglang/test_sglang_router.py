"""Two real SGLang servers, behind the real sglang-router and without it: what of a request's settings goes through, and
what a server that dies in the middle changes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from moi.cli import main
from moi_bench.server import free_port
from moi_eval.journal import load

pytest.importorskip("openai")

START_SECONDS = 120
KIND = ["--server-kind", "sglang"]  # the router answers /v1/models itself, as "local"
PROBLEMS, SAMPLES = 12, 3
EVAL = ["--n", f"{PROBLEMS}", "--samples", f"{SAMPLES}", "--policy", "token", "moi", "--max-new-tokens", "24"]


@pytest.fixture(scope="module")
def second(make_server: Any, qwen2: Path) -> Iterator[Any]:
    """A server that a test may kill."""
    with make_server(qwen2, "--enable-moi", "--enable-metrics") as server:
        yield server


@pytest.fixture(scope="module")
def router(moi_server: Any, second: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a router in front of both."""
    if find_spec("sglang_router") is None:
        pytest.skip("needs sglang-router: pip install --no-deps -r tests/hosts/sglang/requirements.txt")
    port, log = free_port(), tmp_path_factory.mktemp("router") / "log"
    command = [sys.executable, "-m", "sglang_router.launch_router", "--host", "127.0.0.1", "--port", f"{port}"]
    command += ["--policy", "round_robin", "--prometheus-port", f"{free_port()}", "--worker-urls"]
    command += [f"http://127.0.0.1:{server.port}" for server in (moi_server, second)]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + START_SECONDS
    try:
        while not _ready(url):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the router did not start:\n{log.read_text()[-3000:]}")
            time.sleep(0.2)
        yield url
    finally:
        process.kill()
        process.wait()


def _ready(url: str) -> bool:
    """Whether it knows its servers."""
    try:
        with urllib.request.urlopen(f"{url}/v1/models", timeout=5) as answer:
            return bool(json.load(answer)["data"])
    except (OSError, ValueError, KeyError):
        return False


def mixed_tokens(server: Any) -> float:
    _, text = server.request("GET", "/metrics")
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("moi_mixed_tokens_total"))


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
    """sglang-router 0.3.2; if it passes them on some day, this test and docs/scaling.md have news."""
    assert main(["doctor", "--server", router, *KIND, "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["mixes"] == {"chat": False, "text": False}
    found = {(each["way"], each["request"]): each["found"] for each in report["requests"]}
    assert "without telemetry" in found["chat", "mixing"]
    assert "mixed 3 tokens of a request for plain decoding" in found["text", "plain"]  # by the servers' flags
    assert "answered with 4 tokens" in found["chat", "bad"]
    assert "answered with 4 tokens" in found["text", "bad"]


def test_settings_survive_completions(router: str, moi_server: Any, second: Any) -> None:
    body = {"model": "tiny", "prompt": "abc", "max_tokens": 8, "ignore_eos": True}
    status, text = post(f"{router}/v1/completions", {**body, "custom_params": {"moi": {"beta": -1}}})
    assert (status, "beta=-1 is not allowed" in text) == (400, True), text
    for policy, grows in (("token", False), ("moi", True)):
        before = mixed_tokens(moi_server) + mixed_tokens(second)
        status, text = post(f"{router}/v1/completions", {**body, "custom_params": {"moi": {"policy": policy}}})
        assert status == 200, text
        assert (mixed_tokens(moi_server) + mixed_tokens(second) > before) == grows


@pytest.mark.parametrize(
    ("prompt", "words"),
    [("chat", "without telemetry"), ("plain", "mixed 3 tokens of a request for plain decoding")],
)
def test_a_router_that_drops_settings_is_noticed_before_a_problem_is_scored(
    capsys: pytest.CaptureFixture[str], router: str, tmp_path: Path, prompt: str, words: str
) -> None:
    out = tmp_path / "r.jsonl"
    assert main(["eval", "countdown", *EVAL, "--server", router, *KIND, "--prompt", prompt, "--out", str(out)]) == 2
    assert words in capsys.readouterr().err
    assert not out.exists()


def test_both_servers_decode_and_one_that_dies_loses_nothing(
    capsys: pytest.CaptureFixture[str], moi_server: Any, second: Any, tmp_path: Path
) -> None:
    """Without a router; the last test of the second server."""
    out, before = tmp_path / "r.jsonl", [mixed_tokens(server) for server in (moi_server, second)]
    urls = [word for server in (moi_server, second) for word in ("--server", f"http://127.0.0.1:{server.port}")]
    argv = ["eval", "countdown", *EVAL, *urls, "--concurrency", "4", "--out", str(out)]
    command = [sys.executable, "-m", "moi", *argv]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (out.exists() and out.read_bytes().count(b"\n") > PROBLEMS * SAMPLES + 4):
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()
    after = [mixed_tokens(server) for server in (moi_server, second)]
    second.stop()
    _, told = process.communicate(timeout=300)
    assert process.returncode == 0, told
    assert all(now > then for now, then in zip(after, before, strict=True))
    assert len(load(out).samples) == 2 * PROBLEMS * SAMPLES
    capsys.readouterr()
