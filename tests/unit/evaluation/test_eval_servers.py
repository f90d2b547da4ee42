"""`moi eval --server` against servers that fail, lie and stop: whatever happens, the table is that of a quiet run."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fake_server import FakeServer
from moi.cli import main
from moi_eval.journal import load

pytest.importorskip("openai")

SMALL = ["--n", "5", "--samples", "3", "--policy", "token", "moi", "gumbel", "--beta", "0.5", "--max-new-tokens", "9"]
TOTAL = 45


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that failed are asked again at once."""
    monkeypatch.setattr("moi_engines.servers.pool._REST_S", 0.02)
    monkeypatch.setattr("moi_engines.servers.pool._POLL_S", 0.01)


def command(out: Path, *servers: FakeServer, more: tuple[str, ...] = ()) -> list[str]:
    urls = [word for server in servers for word in ("--server", server.url)]
    return ["eval", "countdown", *SMALL, *urls, "--out", str(out), *more]


def samples(path: Path) -> list[str]:
    return sorted(path.read_text().splitlines()[1:])


@pytest.fixture
def whole(serve: Any, tmp_path: Path) -> list[str]:
    """The samples of an undisturbed run."""
    assert main(command(tmp_path / "whole.jsonl", serve())) == 0
    return samples(tmp_path / "whole.jsonl")


@pytest.mark.parametrize("kind", ["sglang", "vllm"])
@pytest.mark.parametrize("prompt", ["chat", "plain"])
def test_settings_go_out_and_telemetry_comes_in(
    capsys: pytest.CaptureFixture[str], serve: Any, tmp_path: Path, kind: str, prompt: str
) -> None:
    server, out = serve(kind), tmp_path / "r.jsonl"
    assert main(command(out, server, more=("--prompt", prompt))) == 0
    found = load(out)
    assert found.header is not None
    assert found.header["settings"]["engine"] == f"{kind} server"
    assert len(found.samples) == TOTAL
    for key, record in found.samples.items():
        assert (record["entropy"] is None) == key.arm.startswith("token"), key
        assert record["intervention"] == (None if key.arm.startswith("token") else 0.25)
    table = capsys.readouterr().out
    assert next(line for line in table.splitlines() if line.startswith("token")).split()[-2:] == ["-", "-"]
    scored = server.bodies[3:]  # after a probe for each arm
    sent = [body.get("sampling_params", body) for body in scored]
    if kind == "sglang":
        given = [params["custom_params"]["moi"] for params in sent]
    else:
        given = [{key.removeprefix("moi_"): v for key, v in params["vllm_xargs"].items()} for params in sent]
    assert Counter(each["policy"] for each in given) == {"token": 15, "moi": 15, "gumbel": 15}
    assert {each.get("beta") for each in given} == {None, 0.5}
    seeds = [params.get("seed", params.get("sampling_seed")) for params in sent]
    assert len(set(seeds)) == 15  # the same noise in every arm
    drawn = [(each["seed"], seed) for each, seed in zip(given, seeds, strict=True) if each["policy"] == "gumbel"]
    assert all(own == seed for own, seed in drawn)
    assert not any("seed" in each for each in given if each["policy"] != "gumbel")


@pytest.mark.parametrize(
    ("server", "prompt"),
    [({"plugin": False}, "chat"), ({"plugin": False, "kind": "vllm"}, "plain"), ({"drops_on_generate": True}, "plain")],
)
def test_a_server_that_ignores_the_settings_is_caught_before_a_problem_is_scored(
    capsys: pytest.CaptureFixture[str], serve: Any, tmp_path: Path, server: dict[str, Any], prompt: str
) -> None:
    stock, out = serve(**server), tmp_path / "r.jsonl"
    assert main(command(out, stock, more=("--prompt", prompt))) == 2
    assert "without telemetry: it ignores the settings" in capsys.readouterr().err
    assert not out.exists()
    assert len(stock.bodies) == 2  # the plain probe, and the first that was to be mixed


@pytest.mark.parametrize("kind", ["sglang", "vllm"])
@pytest.mark.parametrize("prompt", ["chat", "plain"])
def test_plain_arms_alone_are_shown_to_be_plain(
    capsys: pytest.CaptureFixture[str], serve: Any, tmp_path: Path, kind: str, prompt: str
) -> None:
    """Behind a router that drops settings the servers' flags decide, unseen."""
    argv = ["eval", "countdown", "--n", "2", "--policy", "token", "--max-new-tokens", "4", "--prompt", prompt]
    silent, out = serve(kind, plugin=False), tmp_path / "r.jsonl"
    assert main([*argv, "--server", silent.url, "--out", str(out)]) == 2
    assert "without the telemetry it asked for: it ignores the settings" in capsys.readouterr().err
    assert not out.exists()
    server = serve(kind)
    assert main([*argv, "--server", server.url, "--out", str(out)]) == 0
    assert ["per_token" in str(body) for body in server.bodies] == [True, False, False]
    assert all(record["entropy"] is None for record in load(out).samples.values())


def test_one_server_of_several_that_ignores_the_settings_is_named(
    capsys: pytest.CaptureFixture[str], serve: Any, tmp_path: Path
) -> None:
    stock = serve(plugin=False)
    assert main(command(tmp_path / "r.jsonl", serve(), stock)) == 2
    assert f"{stock.url} answered a request of policy 'moi' without telemetry" in capsys.readouterr().err
    assert not (tmp_path / "r.jsonl").exists()


def test_a_server_that_mixes_what_was_to_be_plain_is_caught(
    capsys: pytest.CaptureFixture[str], serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeServer, "_settings", lambda *_: {"policy": "moi"})
    assert main(command(tmp_path / "r.jsonl", serve())) == 2
    assert "mixed 3 tokens of a request for plain decoding" in capsys.readouterr().err


def test_a_server_that_loses_its_plugin_stops_the_run_and_keeps_what_was_mixed(
    capsys: pytest.CaptureFixture[str], serve: Any, tmp_path: Path, whole: list[str]
) -> None:
    out = tmp_path / "r.jsonl"
    assert main(command(out, serve(plugin=lambda number: number < 27), more=("--concurrency", "1"))) == 2
    assert "24 of 45 samples are safe" in capsys.readouterr().err
    assert set(samples(out)) < set(whole)
    assert main(command(out, serve())) == 0
    assert samples(out) == whole


@pytest.mark.slow
def test_full_servers_and_broken_connections_change_nothing(serve: Any, tmp_path: Path, whole: list[str]) -> None:
    drawn = random.Random()
    faults = [drawn.choice([None, None, 429, 500, 503, "cut", "abort"]) for _ in range(1000)]
    first, second = (serve(fault=lambda number, shift=shift: faults[(number + shift) % 1000]) for shift in (0, 500))
    assert main(command(tmp_path / "r.jsonl", first, second)) == 0
    assert samples(tmp_path / "r.jsonl") == whole
    assert len(first.bodies) + len(second.bodies) > TOTAL


def test_a_router_that_comes_back_before_it_knows_its_servers_is_waited_for(
    capsys: pytest.CaptureFixture[str], serve: Any, tmp_path: Path, whole: list[str]
) -> None:
    """It says 404; one that never answered is told to the user at once."""
    router = serve(fault=lambda number: 404 if 12 <= number < 20 else None)
    assert main(command(tmp_path / "r.jsonl", router)) == 0
    assert samples(tmp_path / "r.jsonl") == whole
    assert main(command(tmp_path / "none.jsonl", stranger := serve(fault=lambda number: 404))) == 2
    assert "refused a request with 404" in capsys.readouterr().err
    assert len(stranger.bodies) == 1


def test_when_one_server_dies_the_other_goes_on(serve: Any, tmp_path: Path, whole: list[str]) -> None:
    dying = serve()
    dying.fault = lambda number: _die(dying, number, after=12)
    other = serve()
    assert main(command(tmp_path / "r.jsonl", dying, other)) == 0
    assert samples(tmp_path / "r.jsonl") == whole
    assert len(other.bodies) > TOTAL // 2


def _die(server: FakeServer, number: int, after: int) -> str | None:
    if number == after:
        server._http.socket.close()
    return "cut" if number >= after else None


def test_when_all_die_what_was_finished_is_kept_and_others_go_on(
    capsys: pytest.CaptureFixture[str], serve: Any, tmp_path: Path, whole: list[str]
) -> None:
    out, dying = tmp_path / "r.jsonl", serve()
    dying.fault = lambda number: _die(dying, number, after=20)
    assert main(command(out, dying, more=("--patience", "0.3"))) == 2
    err = capsys.readouterr().err
    assert "no server answered for 0.3 s" in err
    assert "samples are safe; the same command goes on from there" in err
    assert set(samples(out)) < set(whole)
    assert main(command(out, serve())) == 0  # at another address
    assert samples(out) == whole


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_a_client_that_is_stopped_goes_on_where_it_was(
    serve: Any, tmp_path: Path, whole: list[str], end: signal.Signals
) -> None:
    out, gate = tmp_path / "r.jsonl", threading.Event()

    def answered_later(number: int) -> None:
        if number >= 12:
            gate.wait(60)

    held = serve(fault=answered_later)
    argv = command(out, held, more=("--concurrency", "3"))
    process = subprocess.Popen([sys.executable, "-m", "moi", *argv], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    with process.stderr:
        while process.poll() is None and not (out.exists() and out.read_bytes().count(b"\n") > 4):
            time.sleep(0.01)
        os.kill(process.pid, end)
        told = process.stderr.read()
    assert process.wait() == (130 if end == signal.SIGINT else -9), told
    safe = set(out.read_text().rpartition("\n")[0].splitlines()[1:])
    assert 0 < len(safe) < TOTAL
    assert safe < set(whole)
    before = len(held.bodies)
    gate.set()
    assert main(command(out, held)) == 0
    assert samples(out) == whole
    assert len(held.bodies) - before == TOTAL - len(safe) + 3  # and a probe for each arm


def test_requests_at_a_time_are_bounded_and_shared_between_servers(serve: Any, tmp_path: Path) -> None:
    both = serve(seconds=0.05), serve(seconds=0.05)
    assert main(command(tmp_path / "r.jsonl", *both, more=("--concurrency", "6"))) == 0
    assert [server.most_running for server in both] == [3, 3]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--server", "127.0.0.1:1"], "server='127.0.0.1:1' is not allowed; it must be an address such as http://"),
        *[
            (["--server", f"http://{where}"], f"server='http://{where}' is not allowed; it must be an address such as")
            for where in ("127.0.0.1:port", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:0", "[::1")
        ],
        (["--server", "http://127.0.0.1:1"], "http://127.0.0.1:1 does not answer"),
        (["--server", "http://h/v1", "--server", "http://h"], "each must stand there once"),
        (["--server", "http://h", "--device", "cpu"], "--device is not allowed with --server"),
        (["--server", "http://h", "--preset", "paper"], "--preset is not allowed with --server"),
        (["--server", "http://h", "--concurrency", "0"], "--concurrency=0, --patience=60 is not allowed"),
    ],
)
def test_bad_input_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, flags: list[str], words: str
) -> None:
    assert main(["eval", "countdown", *SMALL, *flags, "--out", str(tmp_path / "r.jsonl")]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "r.jsonl").exists()


def test_servers_of_different_models_or_kinds_are_not_one_evaluation(
    capsys: pytest.CaptureFixture[str], serve: Any, tmp_path: Path
) -> None:
    for other, words in (
        (serve(model="other"), "different models"),
        (serve("vllm"), "different kinds"),
    ):
        assert main(command(tmp_path / "r.jsonl", serve(), other)) == 2
        assert words in capsys.readouterr().err
    assert main(command(tmp_path / "r.jsonl", serve(), more=("--model", "mine"))) == 2
    assert "does not serve 'mine'; it has fake" in capsys.readouterr().err
    assert main(command(tmp_path / "r.jsonl", serve("what"))) == 2
    assert "is a server of 'what'; --server-kind says which it is: sglang, vllm" in capsys.readouterr().err


def doctor(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    status = main(["doctor", *words, "--json"])
    return status, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("kind", ["sglang", "vllm"])
def test_doctor_sees_what_arrives(capsys: pytest.CaptureFixture[str], serve: Any, kind: str) -> None:
    status, report = doctor(capsys, "--server", serve(kind).url)
    assert (status, report["mixes"]) == (0, {"chat": True, "text": True})
    assert [each["request"] for each in report["requests"]] == ["plain", "mixing", "bad"] * 2
    assert "4 tokens, 3 fed as mixtures" in report["requests"][1]["found"]
    assert "refused a request with 400: " in report["requests"][2]["found"]


def test_doctor_sees_what_does_not_arrive(capsys: pytest.CaptureFixture[str], serve: Any) -> None:
    status, report = doctor(capsys, "--server", serve(plugin=False).url)
    assert (status, report["mixes"]) == (1, {"chat": False, "text": False})
    assert [each["good"] for each in report["requests"]] == [True, False, False] * 2
    status, report = doctor(capsys, "--server", serve(drops_on_generate=True).url)
    assert (status, report["mixes"]) == (0, {"chat": True, "text": False})
    status, report = doctor(capsys, "--server", serve(checks=False).url)
    assert status == 1
    assert "answered with 4 tokens" in report["requests"][2]["found"]
    assert main(["doctor", "--server", serve(drops_on_generate=True).url]) == 0
    assert "texts are not: evaluate with --prompt chat" in capsys.readouterr().out
    assert main(["doctor", "--server", "http://127.0.0.1:1"]) == 2
    assert "does not answer" in capsys.readouterr().err
