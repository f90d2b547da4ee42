"""The example with the openai client, and what docs/sglang.md says to start and call."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from documented import chat
from server_checks import mixed_tokens

EXAMPLE = Path(__file__).parents[3] / "examples" / "openai_client.py"


def test_the_openai_client_gets_telemetry(
    moi_server: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("openai")
    url = f"http://127.0.0.1:{moi_server.port}/v1"
    monkeypatch.setattr(sys, "argv", [EXAMPLE.name, "--url", url, "--max-tokens", "8"])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    out = capsys.readouterr().out
    assert "plain: " in out
    assert out.count("'mean_entropy'") == 2
    assert "beta=-1 is not allowed" in out


def test_the_call_of_the_page_is_mixed_by_a_server_of_the_page(moi_server: Any) -> None:
    pytest.importorskip("openai")
    before = mixed_tokens(moi_server)
    answer = chat("sglang.md", f"http://127.0.0.1:{moi_server.port}/v1", max_tokens=8)
    assert mixed_tokens(moi_server) > before, answer
