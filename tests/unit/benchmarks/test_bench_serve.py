"""`moi bench serve` without a server: its requests, its rows when things go wrong, what it refuses."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from moi.cli import main
from moi_bench import serve
from moi_bench.serve import ServeCase

pytestmark = pytest.mark.slow

CASE = ServeCase("narrow-32k", 0.5, 4, 10, 3, 8)


class Available:
    def __init__(self, reason: str | None = None) -> None:
        self.reason = reason

    def unavailable(self) -> str | None:
        return self.reason


def test_the_share_is_exact_and_every_request_says_how_it_decodes() -> None:
    made = serve.requests(CASE, 0.5, 1)
    policies = [request["custom_params"]["moi"]["policy"] for request in made]
    assert sorted(policies) == ["moi"] * 5 + ["token"] * 5
    assert made == serve.requests(CASE, 0.5, 1) != serve.requests(CASE, 0.5, 2)
    plain = serve.requests(CASE, 0.0, 1)
    assert {request["custom_params"]["moi"]["policy"] for request in plain} == {"token"}


def test_a_missing_client_or_host_is_a_row_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(serve, "ENGINES", {"sglang": Available()})
    monkeypatch.setattr(serve, "find_spec", lambda name: None)
    out = tmp_path / "deep" / "serve.json"
    assert main(["bench", "serve", "--out", str(out)]) == 1
    assert "sglang: unavailable: SGLang's serving benchmark needs datasets, aiohttp" in capsys.readouterr().out
    rows = json.loads(out.read_text())
    cases = [(row["case"]["concurrency"], row["case"]["requests"], row["case"]["share"]) for row in rows]
    assert cases == [(c, n, share) for c, n in ((1, 8), (4, 16), (8, 32)) for share in (0.5, 1.0)]
    assert {(row["kind"], row["schema"], row["status"]) for row in rows} == {("serve", 1, "unavailable")}
    monkeypatch.setattr(serve, "ENGINES", {"sglang": Available("no sglang here")})
    (row,) = serve.measure([CASE], 1, [])
    assert row["reason"] == "no sglang here"


def test_turns_take_plain_and_every_share_and_drop_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, float]] = []

    def client(case: ServeCase, share: float, turn: int, *_: Any) -> dict[str, float]:
        calls.append((turn, share))
        return {"tokens_per_s": 100.0 - 10 * share, "ttft_ms": 1.0, "tpot_ms": 2.0}

    monkeypatch.setattr(serve, "client", client)
    cases = [CASE, ServeCase("narrow-32k", 1.0, 4, 10, 3, 8)]
    rows = serve._time(cases, 2, "", Path(), Path())
    forth, back = (0.0, 0.5, 1.0), (1.0, 0.5, 0.0)
    assert calls == [(turn, share) for turn in range(3) for share in (back if turn == 1 else forth)]
    assert [row["ratio"] for row in rows] == [
        {"median": pytest.approx(value), "p10": pytest.approx(value), "p90": pytest.approx(value), "turns": 2}
        for value in (0.95, 0.9)
    ]


def test_lost_requests_and_a_failing_client_are_errors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def finished(status: int, completed: int | None) -> Any:
        def call(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
            if completed is not None:
                out = Path(command[command.index("--output-file") + 1])
                figures = {"output_throughput": 1.0, "mean_ttft_ms": 1.0, "mean_tpot_ms": 1.0}
                out.write_text(json.dumps({"completed": completed, **figures}) + "\n")
            return subprocess.CompletedProcess(command, status, "", "it broke")

        return call

    monkeypatch.setattr(subprocess, "run", finished(0, 9))
    with pytest.raises(RuntimeError, match="9 of 10 requests were completed"):
        serve.client(CASE, 1.0, 1, "http://x", tmp_path, tmp_path)
    monkeypatch.setattr(subprocess, "run", finished(3, None))
    with pytest.raises(RuntimeError, match=r"sglang\.benchmark\.serving ended with 3: it broke"):
        serve.client(CASE, 1.0, 1, "http://x", tmp_path, tmp_path)
    monkeypatch.setattr(subprocess, "run", finished(0, 10))
    assert serve.client(CASE, 1.0, 1, "http://x", tmp_path, tmp_path)["tokens_per_s"] == 1.0


def test_a_server_that_does_not_start_is_a_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("the server did not start: no memory")

    monkeypatch.setattr(serve, "Server", broken)
    monkeypatch.setattr(serve, "_model", lambda name, scratch: (tmp_path, []))
    (row,) = serve._serve([CASE], 1, [], tmp_path)
    assert (row["status"], row["reason"]) == ("failed", "RuntimeError: the server did not start: no memory")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--share", "0"], "--share=0 is not allowed; it must be in (0, 1]"),
        (["--share", "2"], "--share=2 is not allowed"),
        (["--requests", "0"], "--requests=0 is not allowed"),
        (["--concurrency", "0"], "--concurrency=0 is not allowed"),
        (["--model", "nowhere"], "model folder nowhere does not exist; on the hub it is not in the cache"),
    ],
)
def test_senseless_loads_are_refused(capsys: pytest.CaptureFixture[str], flags: list[str], words: str) -> None:
    assert main(["bench", "serve", *flags]) == 2
    assert words in capsys.readouterr().err
