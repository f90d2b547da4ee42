"""The playground's tokens from servers, and what it says of servers that are none."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import Any

import pytest

from moi import MoIConfig
from moi_engines import SamplingParams
from moi_playground.answers import pieces
from moi_playground.records import MIXED, PLAIN, Ask, Event
from moi_playground.remote import connect

pytest.importorskip("openai")


def ask(chat: bool = False, **settings: Any) -> Ask:
    return Ask("hello", chat, SamplingParams(seed=3, max_new_tokens=9), MoIConfig("gumbel", **settings))


def columns(events: list[Event]) -> list[list[Event]]:
    return [[event for event in events if event.column == column] for column in (PLAIN, MIXED)]


@pytest.mark.parametrize("chat", [False, True], ids=["text", "chat"])
@pytest.mark.parametrize("kind", ["sglang", "vllm"])
def test_both_columns_come_with_the_numbers_of_each_token(serve: Any, kind: str, chat: bool) -> None:
    server = serve(kind)
    found = columns(list(connect(server.url, None, None).stream(ask(chat, tau=0.75))))
    for column, events in enumerate(found):
        assert "".join(event.token.text for event in events).startswith("<answer>")
        assert all(event.token.entropy is not None for event in events)
        assert {event.token.mixed for event in events} == {column == MIXED}
        assert [event.finish is not None for event in events] == [False] * (len(events) - 1) + [True]
    bodies = sorted(map(str, server.bodies), key=lambda body: "gumbel" in body)
    assert ["'policy': 'token'" in bodies[0] or "'moi_policy': 'token'" in bodies[0], "0.75" in bodies[1]] == [True] * 2
    assert all("per_token': True" in body for body in bodies)


def test_a_server_without_the_plugin_is_named(serve: Any) -> None:
    source = connect(serve("sglang", plugin=False).url, None, None)
    with pytest.raises(RuntimeError, match="tells nothing of mixing: it has no plugin"):
        list(source.stream(ask()))


@pytest.mark.parametrize(("fault", "said"), [(500, "refused with 500: fault 500"), ("cut", "does not answer")])
def test_what_a_server_refuses_is_its_own_words(serve: Any, fault: Any, said: str) -> None:
    source = connect(serve("vllm", fault=lambda number: fault).url, None, None)
    with pytest.raises((ValueError, OSError), match=said):
        list(source.stream(ask()))


def test_a_stream_that_breaks_keeps_what_came(serve: Any) -> None:
    source, found = connect(serve("sglang", fault=lambda number: "short").url, None, None), list[Event]()
    with pytest.raises(OSError, match=r"/generate does not answer: .*complete message"):
        found.extend(source.stream(replace(ask(), sampling=SamplingParams(max_new_tokens=9, ignore_eos=True))))
    assert found
    assert all(event.finish is None for event in found)


def test_an_answer_of_another_kind_is_named(serve: Any) -> None:
    source = connect(serve("sglang").url, None, "vllm")
    with pytest.raises(RuntimeError, match=r"does not answer as vllm does|tells nothing of mixing"):
        list(source.stream(ask()))


@pytest.mark.parametrize("length", [0, 1, 3, 5])
def test_pieces_lose_nothing(length: int) -> None:
    assert "".join(pieces("abc", [1] * max(length, 1))) == "abc"


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def test_nobody_at_the_address() -> None:
    with pytest.raises(OSError, match="does not answer"):
        connect(f"http://127.0.0.1:{free_port()}", None, None)
