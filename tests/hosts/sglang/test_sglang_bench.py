"""`moi bench serve` judges and times a real SGLang: one that runs already, started with the benchmark's own flags."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from moi.cli import main
from moi_bench import serve
from moi_engines import ENGINES

pytest.importorskip("openai")

LOAD = ["--requests", "4", "--concurrency", "1", "2", "--share", "0.5", "1", "--new-tokens", "4", "--rounds", "1"]


def test_every_load_is_a_row_of_this_host(moi_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = SimpleNamespace(url=f"http://127.0.0.1:{moi_server.port}")
    monkeypatch.setattr(serve, "Server", lambda *_: contextlib.nullcontext(running))
    monkeypatch.setitem(ENGINES.loaded, "sglang", replace(ENGINES["sglang"], problems=list))  # it runs
    out = tmp_path / "serve.json"
    assert main(["bench", "serve", "--model", str(moi_server.model), *LOAD, "--out", str(out)]) == 0
    rows = json.loads(out.read_text())
    baseline = "the same sglang server, requests of policy token"
    assert {(row["status"], row["engine"], row["baseline"]) for row in rows} == {("ok", "sglang", baseline)}
    assert [(row["case"]["concurrency"], row["case"]["share"]) for row in rows] == [(1, 0.5), (1, 1), (2, 0.5), (2, 1)]
    for row in rows:
        for side in (row["plain"], row["moi"]):
            assert min(side[figure]["median"] for figure in ("tokens_per_s", "ttft_ms", "tpot_ms")) > 0
