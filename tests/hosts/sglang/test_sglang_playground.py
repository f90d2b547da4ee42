"""The playground's tokens from a real SGLang server."""

from __future__ import annotations

from typing import Any

import pytest

from moi import MoIConfig
from moi_engines import SamplingParams
from moi_playground.records import MIXED, PLAIN, Ask
from moi_playground.remote import connect

pytest.importorskip("openai")
TOKENS = 12


@pytest.mark.parametrize("chat", [False, True], ids=["text", "chat"])
def test_both_columns_come_with_the_numbers_of_each_token(moi_server: Any, chat: bool) -> None:
    source = connect(f"http://127.0.0.1:{moi_server.port}", None, None)
    sampling = SamplingParams(temperature=0, max_new_tokens=TOKENS, ignore_eos=True)
    events = list(source.stream(Ask("count to ten", chat, sampling, MoIConfig(beta=0.5))))
    source.close()
    for column in (PLAIN, MIXED):
        own = [event for event in events if event.column == column]
        assert [event.finish for event in own] == [None] * (TOKENS - 1) + ["length"]
        assert all(event.token.entropy is not None and 0 < event.token.entropy <= 1 for event in own)
        assert {event.token.mixed for event in own} == {column == MIXED}
        assert all((event.token.token_id is None) == chat for event in own)
        assert any(event.token.text for event in own)


def test_a_server_without_the_plugin_is_named(plain_server: Any) -> None:
    source = connect(f"http://127.0.0.1:{plain_server.port}", None, None)
    with pytest.raises(RuntimeError, match="tells nothing of mixing"):
        list(source.stream(Ask("count to ten", False, SamplingParams(max_new_tokens=4), MoIConfig())))
    source.close()
