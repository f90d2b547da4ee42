"""Two real SGLang servers behind smg, the successor of sglang-router: settings and telemetry go through, so evaluations
do. Router, client and a server die at moments drawn anew in each run; nothing is lost, and nothing is there twice.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from moi.cli import main
from moi_eval.journal import Key, load
from programs import Program
from routers import make_router
from server_checks import mixed_tokens

pytest.importorskip("openai")

KIND = ["--server-kind", "sglang"]  # /v1/models says "self_hosted"
PROBLEMS, SAMPLES = 12, 3
ONE_ARM = PROBLEMS * SAMPLES
EVAL = ["--n", f"{PROBLEMS}", "--samples", f"{SAMPLES}", "--policy", "token", "moi", "--max-new-tokens", "16"]


def address(server: Any) -> str:
    return f"http://127.0.0.1:{server.port}"


@pytest.fixture(scope="module")
def router(moi_server: Any, second_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    log = tmp_path_factory.mktemp("smg") / "log"
    with make_router("smg", [address(moi_server), address(second_server)], log) as running:
        yield running


def argv(out: Path, *urls: str) -> list[str]:
    addresses = [word for url in urls for word in ("--server", url)]
    return ["eval", "countdown", *EVAL, *addresses, *KIND, "--concurrency", "4", "--out", str(out)]


def start(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "moi", *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def wait_for(process: subprocess.Popen[str], out: Path, count: int) -> None:
    """Until the file of a running client has so many samples."""
    while process.poll() is None and not (out.exists() and out.read_bytes().count(b"\n") > count):
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()


def check_whole(out: Path) -> dict[Key, dict[str, Any]]:
    """Every sample of both arms, once each: `load` refuses one that is there twice."""
    samples = load(out).samples
    arms, items = {key.arm for key in samples}, {key.item for key in samples}
    assert (len(arms), len(items)) == (2, PROBLEMS)
    assert set(samples) == {Key(*each) for each in product(arms, items, range(SAMPLES))}
    for key, record in samples.items():
        assert (record["intervention"] is None) == key.arm.startswith("token")
    return samples


def test_settings_go_out_and_telemetry_comes_in(
    capsys: pytest.CaptureFixture[str], router: Program, moi_server: Any, second_server: Any
) -> None:
    before = [mixed_tokens(server) for server in (moi_server, second_server)]
    assert main(["doctor", "--server", router.url, *KIND, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["mixes"] == {"chat": True, "text": True}
    assert all("beta=-1 is not allowed" in each["found"] for each in report["requests"] if each["request"] == "bad")
    while [mixed_tokens(server) > 0 for server in (moi_server, second_server)] != [True, True]:
        assert main(["doctor", "--server", router.url, *KIND]) == 0  # in turns
    assert sum(before) < mixed_tokens(moi_server) + mixed_tokens(second_server)
    capsys.readouterr()


def test_a_router_and_a_client_that_die_lose_nothing(
    capsys: pytest.CaptureFixture[str], router: Program, moi_server: Any, tmp_path: Path, base_seed: int
) -> None:
    """Greedy samples are those of a quiet run, but for a few problems: rounding depends on the batch, and may decide.
    Samples that were exchanged would differ for nearly all."""
    drawn, out, quiet = random.Random(f"{base_seed}/smg"), tmp_path / "r.jsonl", tmp_path / "quiet.jsonl"
    command = [*argv(out, router.url), "--temperature", "0"]
    process = start(command)
    wait_for(process, out, drawn.randint(1, ONE_ARM))
    router.kill()
    router.start()
    wait_for(process, out, drawn.randint(ONE_ARM + 1, 2 * ONE_ARM - 12))
    end = drawn.choice([signal.SIGINT, signal.SIGKILL])
    process.send_signal(end)
    _, told = process.communicate(timeout=60)
    assert process.returncode == (130 if end == signal.SIGINT else -9), told
    assert ONE_ARM < len(load(out).samples) < 2 * ONE_ARM
    assert main(command) == 0
    assert main([*argv(quiet, address(moi_server)), "--temperature", "0"]) == 0
    found, wanted = check_whole(out), check_whole(quiet)
    plain = [key for key in wanted if key.arm.startswith("token")]
    mixed = [key for key in wanted if key not in plain]
    # A drawn model may give one text to all problems; what it measures while it does tells them apart.
    assert len({round(wanted[key]["entropy"], 4) for key in mixed}) > 1
    different = {key.item for key in plain if found[key]["text"] != wanted[key]["text"]}
    assert len(different) <= PROBLEMS // 4, different
    different = {key.item for key in mixed if abs(found[key]["entropy"] - wanted[key]["entropy"]) > 1e-4}
    assert len(different) <= PROBLEMS // 4, different
    capsys.readouterr()


def test_a_server_that_dies_loses_nothing_behind_the_router_and_without_it(
    router: Program, moi_server: Any, second_server: Any, tmp_path: Path, base_seed: int
) -> None:
    """The last test of the second server: two evaluations are under way when it dies."""
    drawn, before = random.Random(f"{base_seed}/server"), [mixed_tokens(each) for each in (moi_server, second_server)]
    runs = {
        tmp_path / "routed.jsonl": [router.url],
        tmp_path / "direct.jsonl": [address(moi_server), address(second_server)],
    }
    processes = {out: start(argv(out, *urls)) for out, urls in runs.items()}
    for out, process in processes.items():
        wait_for(process, out, ONE_ARM + drawn.randint(4, 16))  # mixed ones are among them
    after = [mixed_tokens(each) for each in (moi_server, second_server)]
    second_server.stop()
    assert all(now > then for now, then in zip(after, before, strict=True))
    for out, process in processes.items():
        _, told = process.communicate(timeout=300)
        assert process.returncode == 0, told
        check_whole(out)
