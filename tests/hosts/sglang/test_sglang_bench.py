"""`moi bench serve` on a real SGLang: it starts a server as `moi serve` does, judges it and times it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai")

LOAD = ["--requests", "4", "--concurrency", "1", "2", "--share", "0.5", "1", "--new-tokens", "4", "--rounds", "1"]
FLAGS = ["--random-seed", "0", "--sleep-on-idle", "--max-running-requests", "16", "--context-length", "512"]


def test_every_load_is_a_row_of_this_host(qwen2: Path, tmp_path: Path, sglang_env: Any) -> None:
    out = tmp_path / "serve.json"
    command = [sys.executable, "-m", "moi", "bench", "serve", "--model", str(qwen2), *LOAD, "--out", str(out)]
    done = subprocess.run([*command, "--", *FLAGS], env=sglang_env(), capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    rows = json.loads(out.read_text())
    baseline = "the same sglang server, requests of policy token"
    assert {(row["status"], row["engine"], row["baseline"]) for row in rows} == {("ok", "sglang", baseline)}
    assert [(row["case"]["concurrency"], row["case"]["share"]) for row in rows] == [(1, 0.5), (1, 1), (2, 0.5), (2, 1)]
    for row in rows:
        for side in (row["plain"], row["moi"]):
            assert min(side[figure]["median"] for figure in ("tokens_per_s", "ttft_ms", "tpot_ms")) > 0
    assert done.stdout.count("sglang") == 4
