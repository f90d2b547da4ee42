"""The load of `moi bench serve` on a server that streams, fails and breaks off when the test says so."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from fake_server import FakeServer, Fault
from moi_bench.serve_client import Target, Timing, figures, load
from moi_engines import SamplingParams
from moi_engines.servers import DIALECTS, Question

pytest.importorskip("openai")

SAMPLING = SamplingParams(0.8, max_new_tokens=5, ignore_eos=True)
MIXING = {"policy": "moi", "beta": 1.0}


def questions(count: int, **settings: Any) -> list[Question]:
    return [Question(f"count to {index}", True, SAMPLING, settings or MIXING) for index in range(count)]


def target(server: FakeServer) -> Target:
    return Target(server.url, DIALECTS[server.kind], server.model)


def test_figures_are_of_the_whole_run_and_means_over_requests() -> None:
    found = figures([Timing(5, 0.5, 1.5), Timing(3, 0.25, 0.75)], 4.0)
    assert found == {"tokens_per_s": 2.0, "ttft_ms": 375.0, "tpot_ms": 250.0}


@pytest.mark.parametrize(
    ("kind", "field"),
    [("sglang", {"custom_params": {"moi": MIXING}}), ("vllm", {"vllm_xargs": {"moi_policy": "moi", "moi_beta": 1.0}})],
)
def test_each_chat_says_how_it_decodes_after_one_to_warm_up(serve: Any, kind: str, field: dict[str, Any]) -> None:
    server = serve(kind)
    load(target(server), questions(3), 2)
    warm_up, *asked = server.bodies
    assert warm_up["messages"][0]["content"] == "warm up"
    assert sorted(body["messages"][0]["content"] for body in asked) == ["count to 0", "count to 1", "count to 2"]
    wanted = {"model": "fake", "max_tokens": 5, "temperature": 0.8, "top_p": 1.0, "ignore_eos": True, "stream": True}
    for body in server.bodies:
        rest = {key: value for key, value in body.items() if key != "messages"}
        assert rest == {**wanted, "stream_options": {"include_usage": True}, **field}


def test_so_many_are_in_flight_and_no_more(serve: Any) -> None:
    together = threading.Barrier(3)

    def wait(number: int) -> Fault:
        if number:  # all but the one to warm up
            together.wait(60)
        return None

    server = serve(fault=wait)
    load(target(server), questions(6), 3)
    assert server.most_running == 3


def test_times_are_of_the_stream(serve: Any) -> None:
    """The server takes a while to its first word and behind each token: less cannot be measured."""
    found = load(target(serve(seconds=0.05, pace=0.01)), questions(2), 1)
    assert found["ttft_ms"] >= 50
    assert found["tpot_ms"] >= 10
    assert 0 < found["tokens_per_s"] <= 5 / (0.05 + 5 * 0.01)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (500, "1 of 4 requests failed, the first: .*fault 500"),
        (400, "1 of 4 requests failed, the first: .*fault 400"),
        ("cut", "1 of 4 requests failed, the first: ."),
        ("short", "1 of 4 requests failed, the first: ."),
    ],
)
def test_a_request_that_fails_fails_the_run(serve: Any, fault: Fault, words: str) -> None:
    server = serve(fault=lambda number: fault if number == 2 else None)
    with pytest.raises(RuntimeError, match=words):
        load(target(server), questions(4), 2)
    assert len(server.bodies) == 5  # the others were asked, and one to warm up


class OneShort(FakeServer):
    """Tells of one token fewer than it was asked for."""

    def answer(self, path: str, body: dict[str, Any]) -> tuple[Fault, dict[str, Any]]:
        fault, answer = super().answer(path, body)
        answer["usage"]["completion_tokens"] -= 1
        return fault, answer


def test_fewer_tokens_than_asked_for_fail_the_run() -> None:
    server = OneShort()
    try:
        with pytest.raises(RuntimeError, match="4 of 5 tokens came"):
            load(target(server), questions(1), 1)
    finally:
        server.stop()


def test_what_is_no_stream_of_chats_fails_the_run(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fake_server._chat_chunks", lambda *_: [{"object": "something else"}])
    server = serve("vllm")
    with pytest.raises(RuntimeError, match=f"{server.url} does not stream chats as vllm does: KeyError"):
        load(target(server), questions(1), 1)
