"""The playground's tokens from a real SGLang server."""

from __future__ import annotations

from typing import Any

import pytest

from moi import MoIConfig
from moi_engines import SamplingParams
from moi_playground.records import Ask
from moi_playground.remote import connect
from server_checks import check_columns

pytest.importorskip("openai")


@pytest.mark.parametrize("chat", [False, True], ids=["text", "chat"])
def test_both_columns_come_with_the_numbers_of_each_token(moi_server: Any, chat: bool) -> None:
    check_columns(f"http://127.0.0.1:{moi_server.port}", chat, ids=not chat)


def test_a_server_without_the_plugin_is_named(plain_server: Any) -> None:
    source = connect(f"http://127.0.0.1:{plain_server.port}", None, None)
    with pytest.raises(RuntimeError, match="tells nothing of mixing"):
        list(source.stream(Ask("count to ten", False, SamplingParams(max_new_tokens=4), MoIConfig())))
    source.close()
