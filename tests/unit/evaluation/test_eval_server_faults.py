"""`moi eval --server`: which faults of servers are waited out, and what is said of those that are not."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from fake_server import FakeServer
from moi_engines import SamplingParams
from moi_engines.servers import Pool, Question, Served

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
