"""`moi bench serve` without a server: its requests, its rows when things go wrong, what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from moi.cli import main
from moi_bench import serve
from moi_bench.serve import ServeCase
from moi_bench.serve_client import Target
from moi_bench.server import LAUNCHES, Server
from moi_engines import ENGINES
from moi_engines.servers import DIALECTS

pytestmark = pytest.mark.slow

CASE = ServeCase("narrow-32k", 0.5, 4, 10, 3, 8)


def test_the_share_is_rounded_and_every_request_says_how_it_decodes() -> None:
    made = serve.requests(CASE, 0.5, 1)
    policies = [question.settings["policy"] for question in made]
    assert sorted(policies) == ["moi"] * 5 + ["token"] * 5
    assert made == serve.requests(CASE, 0.5, 1) != serve.requests(CASE, 0.5, 2)
    assert [serve.mixed(CASE, share) for share in (0.05, 0.16, 0.949, 1.0)] == [0, 2, 9, 10]
    assert CASE.name == "narrow-32k C=4 N=10 share=0.5" != replace(CASE, share=1.0).name
    plain = serve.requests(CASE, 0.0, 1)
    assert {question.settings["policy"] for question in plain} == {"token"}


@pytest.mark.parametrize("engine", ["sglang", "vllm"])
def test_a_missing_client_or_host_is_a_row_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, engine: str
) -> None:
    installed = replace(ENGINES[engine], modules=(), problems=list)
    monkeypatch.setitem(ENGINES.loaded, engine, installed)
    monkeypatch.setattr(serve, "find_spec", lambda name: None)
    out = tmp_path / "deep" / "serve.json"
    assert main(["bench", "serve", "--engine", engine, "--out", str(out)]) == 1
    assert f"{engine}: unavailable: its client is not installed; pip install" in capsys.readouterr().out
    rows = json.loads(out.read_text())
    cases = [(row["case"]["concurrency"], row["case"]["requests"], row["case"]["share"]) for row in rows]
    assert cases == [(c, n, share) for c, n in ((1, 8), (4, 16), (8, 32)) for share in (0.5, 1.0)]
    assert {(row["kind"], row["schema"], row["status"]) for row in rows} == {("serve", 1, "unavailable")}
    monkeypatch.setitem(ENGINES.loaded, engine, replace(installed, problems=lambda: ["no host here"]))
    (row,) = serve.measure(engine, [CASE], 1, [])
    assert (row["engine"], row["reason"]) == (engine, "no host here")


def test_the_engine_decides_how_its_server_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert serve._servers() == ["sglang", "vllm"] == [*LAUNCHES]
    for cpu in (True, False):
        monkeypatch.setattr("torch.cuda.is_available", lambda cpu=cpu: not cpu)
        for engine, launch in LAUNCHES.items():
            server = Server(engine, tmp_path, ["--mine", "1"], tmp_path / "log")
            start = server._command.index("--engine")
            assert server._command[start : start + 4] == ["--engine", engine, "--model", str(tmp_path)]
            flags = server._command[server._command.index("--") + 1 :]
            assert flags == [*launch.flags, *(launch.on_cpu if cpu else ()), "--mine", "1"]
            assert (launch.variables.items() <= server._env.items()) == (cpu or not launch.variables)


def test_turns_take_plain_and_every_share_and_drop_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, float]] = []

    def requests(case: ServeCase, share: float, turn: int) -> float:
        calls.append((turn, share))
        return share

    def load(target: Target, share: float, concurrency: int) -> dict[str, float]:
        assert concurrency == 4
        return {"tokens_per_s": 100.0 - 10 * share, "ttft_ms": 1.0, "tpot_ms": 2.0}

    monkeypatch.setattr(serve, "requests", requests)
    monkeypatch.setattr(serve, "load", load)
    cases = [CASE, ServeCase("narrow-32k", 1.0, 4, 10, 3, 8)]
    rows = serve._time(cases, 2, Target("", DIALECTS["vllm"], ""))
    forth, back = (0.0, 0.5, 1.0), (1.0, 0.5, 0.0)
    assert calls == [(turn, share) for turn in range(3) for share in (back if turn == 1 else forth)]
    assert [row["ratio"] for row in rows] == [
        {"median": pytest.approx(value), "p10": pytest.approx(value), "p90": pytest.approx(value), "turns": 2}
        for value in (0.95, 0.9)
    ]


def test_a_server_that_does_not_start_is_a_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("the server did not start: no memory")

    monkeypatch.setattr(serve, "Server", broken)
    monkeypatch.setattr(serve, "_model", lambda engine, name, scratch: (tmp_path, []))
    (row,) = serve._serve("vllm", [CASE], 1, [], tmp_path)
    assert (row["status"], row["reason"]) == ("failed", "RuntimeError: the server did not start: no memory")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--share", "0"], "--share=0 is not allowed; it must be in (0, 1]"),
        (["--share", "2"], "--share=2 is not allowed"),
        (["--share", "0.5", "0.04", "--requests", "9"], "--share=0.04 of --requests=9 is not allowed; it comes to no"),
        (["--share", "0.05"], "--share=0.05 of --requests=8 is not allowed"),
        (["--requests", "0"], "--requests=0 is not allowed"),
        (["--new-tokens", "1"], "--new-tokens=1 is not allowed; it must be >= 2"),
        (["--concurrency", "0"], "--concurrency=0 is not allowed"),
        (["--model", "nowhere"], "model folder nowhere does not exist; on the hub it is not in the cache"),
    ],
)
def test_senseless_loads_are_refused(capsys: pytest.CaptureFixture[str], flags: list[str], words: str) -> None:
    assert main(["bench", "serve", *flags]) == 2
    assert words in capsys.readouterr().err
