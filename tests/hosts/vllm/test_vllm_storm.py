"""A storm of requests of all kinds: every one is answered, and the server is as before."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

POOL: list[Any] = [{"beta": 1.0}, {"beta": 2.0}, {"beta": 4.0}, {"policy": "token"}, None, {"policy": "soft"}]


def test_300_requests_of_random_kinds_are_all_answered(ask: Any, agree: Any, moi_server: Any) -> None:
    rng, texts = ask.random("storm"), ask.prompts("storm", len(POOL))
    seen: dict[int, dict[tuple[int, ...], Any]] = {index: {} for index in range(len(POOL))}

    def valid(seed: int) -> None:
        index, tokens = seed % len(POOL), 1 + seed * 7 % 16
        answer = moi_server.complete(texts[index], POOL[index], max_tokens=tokens)
        assert len(answer["choices"][0]["token_ids"]) == tokens
        seen[index][tuple(answer["choices"][0]["token_ids"])] = answer

    def disconnected(seed: int) -> None:
        body = {"model": "tiny", "prompt": texts[seed % len(POOL)], "max_tokens": 150, "ignore_eos": True}
        stream = moi_server.stream("/v1/completions", {**body, **ask.xargs({"beta": 1.0})})
        next(stream)
        stream.close()

    def malformed(seed: int) -> None:
        prompt = {"model": "tiny", "prompt": [5, 6]}
        bad: Any = rng.choice(
            [
                "{",
                {"model": "tiny", "prompt": {}},
                {**prompt, "temperature": -1},
                {**prompt, "vllm_xargs": {"moi_beta": -seed - 1}},
                {**prompt, "vllm_xargs": {"moi_policy": seed}},
                {**prompt, "vllm_xargs": {"moi_beta": {"a": seed}}},
            ]
        )
        status, text = moi_server.request("POST", "/v1/completions", bad)
        assert 400 <= status < 500, (status, text, bad)
        assert text

    kinds = [valid] * 230 + [disconnected] * 30 + [malformed] * 40
    rng.shuffle(kinds)
    with ThreadPoolExecutor(16) as threads:
        for done in [threads.submit(kind, seed) for seed, kind in enumerate(kinds)]:
            done.result(240)
    assert moi_server.healthy()
    assert idle(moi_server)
    rows = [(index, answer) for index, answers in seen.items() for answer in longest(answers)]
    agree(
        moi_server.model, [texts[index] for index, _ in rows], [POOL[index] for index, _ in rows], [e for _, e in rows]
    )


def longest(answers: dict[tuple[int, ...], Any]) -> list[Any]:
    """Those that no longer one begins with: they are judged for all."""
    return [
        answer
        for tokens, answer in answers.items()
        if not any(len(other) > len(tokens) and other[: len(tokens)] == tokens for other in answers)
    ]


def idle(server: Any) -> bool:
    """No request runs, waits or holds memory, as the server's own gauges say."""
    server.complete([5], None, max_tokens=1)
    status, text = server.request("GET", "/metrics")
    assert status == 200
    gauges = re.findall(r"^vllm:(num_requests_running|num_requests_waiting)\{[^}]*\} (\S+)$", text, re.MULTILINE)
    return len(gauges) == 2 and all(float(value) == 0 for _, value in gauges)
