"""`moi eval --server` and `moi doctor --server` against a real vLLM with the plugin."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from moi.cli import main
from server_checks import check_evaluation, check_plain_alone

pytest.importorskip("openai")

ARMS = ["--policy", "token", "moi", "gumbel", "--beta", "0.5", "--prompt", "plain"]
SMALL = ["--n", "2", "--samples", "2", "--max-new-tokens", "12"]


def test_an_evaluation_is_mixed_where_it_should_be(tmp_path: Path, moi_server: Any) -> None:
    out = tmp_path / "r.jsonl"
    argv = ["eval", "countdown", *SMALL, *ARMS, "--server", f"http://127.0.0.1:{moi_server.port}", "--out", str(out)]
    check_evaluation(argv, out, "vllm", 4)
    check_plain_alone(f"http://127.0.0.1:{moi_server.port}", tmp_path / "plain.jsonl", "plain")


def test_doctor_shows_what_arrives(capsys: pytest.CaptureFixture[str], moi_server: Any) -> None:
    main(["doctor", "--server", f"http://127.0.0.1:{moi_server.port}", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report["mixes"]["text"]
    refused = [each["found"] for each in report["requests"] if each["request"] == "bad"]
    assert any("moi_beta" in each or "beta=-1 is not allowed" in each for each in refused)
