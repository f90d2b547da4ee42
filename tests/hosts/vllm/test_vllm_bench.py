"""`moi bench serve --engine vllm`: it starts a real vLLM as `moi serve` does, judges it and times it.

Its server schedules synchronously, and is two engines behind one front end (`--data-parallel-size 2`); those of the
other modules are one engine and schedule asynchronously. So every policy is judged on it, too.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from vllm_policies import SETTINGS, check_answers

TOKENS = 24
LOAD = ["--requests", "2", "--concurrency", "2", "--share", "0.5", "1", "--new-tokens", "3", "--rounds", "1"]
FLAGS = [
    *("--no-async-scheduling", "--data-parallel-size", "2"),
    *("--block-size", "32", "--max-model-len", "256", "--max-num-seqs", "8"),
]


@pytest.fixture(scope="module")
def folder(vllm_model: Any) -> Path:
    found: Path = vllm_model("llama")
    return found


@pytest.fixture(scope="module")
def texts(ask: Any) -> list[list[int]]:
    found: list[list[int]] = ask.prompts("synchronous", len(SETTINGS))
    return found


@pytest.fixture(scope="module")
def bench(ask: Any, folder: Path, texts: Any, run_child: Any, tmp_path_factory: Any) -> dict[str, Any]:
    scratch = Path(tmp_path_factory.mktemp("bench"))
    shared = {"model": str(folder), "max_tokens": TOKENS, "temperature": 0, "ignore_eos": True}
    shared |= {"return_token_ids": True}
    bodies = [{**shared, "prompt": text, **ask.xargs(each)} for text, each in zip(texts, SETTINGS, strict=True)]
    (scratch / "bodies.json").write_text(json.dumps(bodies))
    out = scratch / "serve.json"
    argv = ["--engine", "vllm", "--model", str(folder), *LOAD, "--out", str(out), "--", *FLAGS]
    told = run_child("bench_child.py", scratch / "bodies.json", *argv, MOI_POLICY="token")
    return {**told, "rows": json.loads(out.read_text())}


def test_every_load_is_a_row_of_this_host(bench: dict[str, Any]) -> None:
    rows = bench["rows"]
    assert [row["reason"] for row in rows] == [None] * 2
    assert bench["status"] == 0
    baseline = "the same vllm server, requests of policy token"
    assert {(row["engine"], row["baseline"]) for row in rows} == {("vllm", baseline)}
    assert [(row["case"]["concurrency"], row["case"]["share"]) for row in rows] == [(2, 0.5), (2, 1)]
    for row in rows:
        for side in (row["plain"], row["moi"]):
            assert min(side[figure]["median"] for figure in ("tokens_per_s", "ttft_ms", "tpot_ms")) > 0


def test_all_policies_agree_with_synchronous_scheduling_and_data_parallelism(
    bench: dict[str, Any], agree: Any, folder: Path, texts: list[list[int]]
) -> None:
    check_answers(agree, folder, texts, bench["answers"])
    found = re.findall(r'^vllm:generation_tokens_total\{engine="(\d)".*\} (\S+)$', bench["metrics"], re.MULTILINE)
    assert [engine for engine, tokens in found if float(tokens) >= TOKENS] == ["0", "1"]
