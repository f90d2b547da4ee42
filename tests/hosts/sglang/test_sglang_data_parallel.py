"""`--dp-size 2`: one address, two schedulers, each with its own tables; every request mixes as asked wherever it lands.

DP attention, where ranks share a batch, is refused (test_sglang_conflicts.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SETTINGS: list[dict[str, Any] | None] = [
    {"beta": 1.0, "per_token": True},
    None,
    {"policy": "token"},
    {"beta": 0.5, "per_token": True},
    {"policy": "direct"},
    {"policy": "gumbel", "tau": 0.3, "per_token": True},
]
RANKS = (0, 1)


@pytest.fixture(scope="module")
def server(make_server: Any, qwen2: Path) -> Iterator[Any]:
    """Both ranks on one core; SGLang wants a NUMA node for each unless it is told."""
    flags = ("--enable-moi", "--dp-size", "2", "--enable-metrics")
    with make_server(qwen2, *flags, SGLANG_CPU_OMP_THREADS_BIND="0|0") as running:
        yield running


def mixed_tokens(server: Any) -> dict[int, float]:
    """What each rank says that it mixed; one that mixed nothing yet says nothing."""
    _, text = server.request("GET", "/metrics")
    lines = [line for line in text.splitlines() if line.startswith("moi_mixed_tokens_total{dp_rank=")]
    return dict.fromkeys(RANKS, 0.0) | {int(line.split('"')[1]): float(line.split()[-1]) for line in lines}


def fed(settings: dict[str, Any] | None, output: dict[str, Any]) -> int:
    """Tokens that were to be fed as mixtures."""
    plain = settings is not None and settings.get("policy") == "token"
    return 0 if plain else len(output["output_ids"]) - 1


def test_settings_arrive_at_both_ranks_and_both_agree(ask: Any, agree: Any, server: Any, qwen2: Path) -> None:
    """Different texts on each rank, of several settings in one batch."""
    for rank in RANKS:
        before = mixed_tokens(server)
        texts = ask.prompts(f"rank {rank}", len(SETTINGS))
        outputs = server.generate(texts, [ask.greedy(each) for each in SETTINGS], routed_dp_rank=rank)
        assert [output["meta_info"]["dp_rank"] for output in outputs] == [rank] * len(SETTINGS)
        agree(qwen2, texts, [ask.config(each) for each in SETTINGS], outputs)
        wanted = [fed(*each) for each in zip(SETTINGS, outputs, strict=True)]
        told = [(output["meta_info"].get("moi") or {"mixed_tokens": 0})["mixed_tokens"] for output in outputs]
        assert told == wanted
        after = mixed_tokens(server)
        assert [after[each] > before[each] for each in RANKS] == [each == rank for each in RANKS]


def test_requests_without_a_rank_are_shared_and_mixed_as_asked(ask: Any, agree: Any, server: Any, qwen2: Path) -> None:
    settings = SETTINGS * 2
    texts = ask.prompts("shared", len(settings))
    outputs = server.generate(texts, [ask.greedy(each, max_new_tokens=24) for each in settings])
    assert {output["meta_info"]["dp_rank"] for output in outputs} == set(RANKS)
    agree(qwen2, texts, [ask.config(each) for each in settings], outputs, max_new_tokens=24)


def test_chats_bring_telemetry_from_both_and_a_mistake_is_a_400(server: Any) -> None:
    body = {"model": "tiny", "messages": [{"role": "user", "content": "abc"}], "max_tokens": 5, "ignore_eos": True}
    ranks = set[int]()
    for _ in range(4):
        given = {**body, "return_meta_info": True, "custom_params": {"moi": {"beta": 0.5}}}
        status, text = server.request("POST", "/v1/chat/completions", given)
        assert status == 200, text
        told = json.loads(text)["choices"][0]["meta_info"]
        ranks.add(told["dp_rank"])
        assert told["moi"]["mixed_tokens"] == 4
    assert ranks == set(RANKS)
    status, text = server.request("POST", "/v1/chat/completions", {**body, "custom_params": {"moi": {"beta": -1}}})
    assert (status, "beta=-1 is not allowed" in text) == (400, True), text
