"""The playground's tokens from a real vLLM server."""

from __future__ import annotations

from typing import Any

import pytest

from server_checks import check_columns

pytest.importorskip("openai")


@pytest.mark.parametrize("chat", [False, True], ids=["text", "chat"])
def test_both_columns_come_with_the_numbers_of_each_token(moi_server: Any, chat: bool) -> None:
    check_columns(f"http://127.0.0.1:{moi_server.port}", chat, ids=True)
