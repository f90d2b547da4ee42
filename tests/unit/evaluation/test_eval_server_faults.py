"""`moi eval --server`: which faults of servers are waited out, and what is said of those that are not."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import Any

import pytest

from fake_server import FakeServer
from moi.cli import main
from moi_engines import SamplingParams
from moi_engines.servers import Pool, Question, Served
from moi_eval.journal import load

pytest.importorskip("openai")

QUESTION = Question("a", False, SamplingParams(0.0, max_new_tokens=4), {"policy": "token"})


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that failed are asked again at once."""
    monkeypatch.setattr("moi_engines.servers.pool._REST_S", 0.02)
    monkeypatch.setattr("moi_engines.servers.pool._POLL_S", 0.01)


def ask(patience_s: float, *servers: FakeServer) -> Any:
    async def one() -> Any:
        async with Pool([server.url for server in servers], patience_s=patience_s) as pool:
            return await pool.ask(QUESTION, Served("fake", "sglang"))

    return asyncio.run(one())


def test_patience_is_waiting_time_alone(serve: Any) -> None:
    """A text that takes longer than the patience and then breaks is asked for again, elsewhere."""

    def breaks_late(number: int) -> str:
        time.sleep(0.3)
        return "abort"

    late, healthy = serve(fault=breaks_late), serve()
    answer = ask(0.1, late, healthy)
    assert answer.finish in ("stop", "length")
    assert (len(late.bodies), len(healthy.bodies)) == (1, 1)


def test_a_text_that_always_breaks_is_tried_a_bounded_number_of_times(serve: Any) -> None:
    late = serve(fault=lambda number: "abort", seconds=0.1)
    with pytest.raises(OSError, match=r"no server answered for 0\.1 s \(.*: ended a text with 'abort'\)"):
        ask(0.1, late)
    assert 2 <= len(late.bodies) <= 11


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_refused_problem_is_named_and_stops_nobody_else(
    capsys: pytest.CaptureFixture[str], serve: Any, tmp_path: Path, concurrency: int
) -> None:
    """The worker that met it ends; a second run decodes the rest, and the file goes on whoever refused."""
    picky, out = serve(fault=lambda number: 400 if number == 4 else None), tmp_path / "r.jsonl"
    argv = ["eval", "countdown", "--n", "5", "--samples", "3", "--policy", "token", "moi", "--max-new-tokens", "9"]
    argv += ["--concurrency", str(concurrency), "--out", str(out)]
    assert main([*argv, "--server", picky.url]) == 2
    err = capsys.readouterr().err
    assert re.search(r"problem '[^']+', arm 'token T=1 top-p=1': \S+ refused a request with 400: .*fault 400", err)
    assert "requests were refused" not in err
    assert len(load(out).samples) == (2 if concurrency == 1 else 29)  # 2 probes before
    assert main([*argv, "--server", serve().url]) == 0


def test_refusals_are_counted_and_no_more_than_requests_at_a_time(
    capsys: pytest.CaptureFixture[str], serve: Any, tmp_path: Path
) -> None:
    full = serve(fault=lambda number: 400 if number > 1 else None)
    argv = ["eval", "countdown", "--n", "9", "--policy", "token", "moi", "--concurrency", "3", "--max-new-tokens", "9"]
    assert main([*argv, "--server", full.url, "--out", str(tmp_path / "r.jsonl")]) == 2
    assert "(3 requests were refused)" in capsys.readouterr().err
    assert len(full.bodies) == 2 + 3
