"""`moi eval --server` and `moi doctor --server` against real SGLang servers, with the plugin and without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from moi.cli import main
from server_checks import check_evaluation, check_plain_alone

pytest.importorskip("openai")

SMALL = ["--n", "3", "--samples", "2", "--policy", "token", "moi", "gumbel", "--beta", "0.5", "--max-new-tokens", "12"]


def url(server: Any) -> str:
    return f"http://127.0.0.1:{server.port}"


@pytest.mark.parametrize("prompt", ["chat", "plain"])
def test_an_evaluation_is_mixed_where_it_should_be(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, moi_server: Any, prompt: str
) -> None:
    out = tmp_path / "r.jsonl"
    argv = ["eval", "countdown", *SMALL, "--server", url(moi_server), "--prompt", prompt, "--out", str(out)]
    check_evaluation(argv, out, "sglang", 6)
    check_plain_alone(url(moi_server), tmp_path / "plain.jsonl", prompt)
    capsys.readouterr()


def test_a_server_without_the_plugin_is_caught_before_a_problem_is_scored(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, plain_server: Any
) -> None:
    for prompt in ("chat", "plain"):
        argv = ["eval", "countdown", *SMALL, "--server", url(plain_server), "--prompt", prompt]
        assert main([*argv, "--out", str(tmp_path / "r.jsonl")]) == 2
        assert "without telemetry: it ignores the settings" in capsys.readouterr().err
        assert not (tmp_path / "r.jsonl").exists()


def test_doctor_tells_them_apart(capsys: pytest.CaptureFixture[str], moi_server: Any, plain_server: Any) -> None:
    assert main(["doctor", "--server", url(moi_server), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["mixes"] == {"chat": True, "text": True}
    assert all("beta=-1 is not allowed" in each["found"] for each in report["requests"] if each["request"] == "bad")
    assert main(["doctor", "--server", url(plain_server), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert [each["good"] for each in report["requests"]] == [True, False, False] * 2
