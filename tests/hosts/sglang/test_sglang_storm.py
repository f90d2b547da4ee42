"""A storm of requests of all kinds: every one is answered, and nothing of them is left behind."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

TOKENS = 48


def test_500_requests_of_random_kinds_leave_every_one_answered_and_nothing_behind(
    ask: Any, moi_server: Any, qwen2: Path, agree: Any
) -> None:
    rng = ask.random("storm")
    pool = [{"beta": 1.0}, {"beta": 2.0}, {"beta": 0.5}, {}, {"policy": "token"}, None] * 4
    texts = ask.prompts("storm", count=len(pool))
    seen: list[dict[tuple[int, ...], Any]] = [{} for _ in pool]

    def valid(seed: int) -> None:
        index, tokens = seed % len(pool), 1 + seed * 7 % TOKENS
        output = moi_server.generate(texts[index], ask.greedy(pool[index], max_new_tokens=tokens))
        assert len(output["output_ids"]) == tokens
        seen[index][tuple(output["output_ids"])] = output

    def disconnected(seed: int) -> None:
        body = {"input_ids": texts[seed % len(texts)], "sampling_params": ask.greedy({}, max_new_tokens=300)}
        stream = moi_server.stream("/generate", body)
        next(stream)
        stream.close()

    def aborted(seed: int) -> None:
        body = {"input_ids": texts[seed % len(texts)], "sampling_params": ask.greedy({}, max_new_tokens=400)}
        chunks = []
        for chunk in moi_server.stream("/generate", {**body, "rid": f"abort-{seed}"}):
            chunks.append(chunk)
            if len(chunks) == 3:
                moi_server.request("POST", "/abort_request", {"rid": f"abort-{seed}"})
        assert chunks[-1]["meta_info"]["finish_reason"]["type"] in ("abort", "length")

    def malformed(seed: int) -> None:
        bad: Any = rng.choice(
            [
                "{",
                {"sampling_params": {}},
                {"input_ids": [5], "sampling_params": {"temperature": -1}},
                {"input_ids": [5], "sampling_params": ask.greedy({"beta": -seed - 1})},
                {"input_ids": [5], "sampling_params": ask.greedy({"policy": seed})},
                {"input_ids": [5], "sampling_params": {"custom_params": {"moi": [seed]}}},
            ]
        )
        status, text = moi_server.request("POST", "/generate", bad)
        assert 400 <= status < 500, (status, text, bad)
        assert text

    kinds = [valid] * 380 + [disconnected] * 40 + [aborted] * 20 + [malformed] * 60
    rng.shuffle(kinds)
    with ThreadPoolExecutor(24) as threads:
        for done in [threads.submit(kind, seed) for seed, kind in enumerate(kinds)]:
            done.result(120)
    moi_server.flush()  # refused unless every slot and every token of KV is free again
    assert moi_server.healthy()
    assert "leak" not in moi_server.log.read_text()
    for seed in range(len(pool)):
        valid(seed)
    rows = longest(seen)
    lengths = [len(output["output_ids"]) for _, output in rows]
    prompts, configs = [texts[index] for index, _ in rows], [ask.config(pool[index]) for index, _ in rows]
    agree(qwen2, prompts, configs, [output for _, output in rows], lengths=lengths)


def longest(seen: list[dict[tuple[int, ...], Any]]) -> list[tuple[int, Any]]:
    """The outputs of each prompt that no longer one begins with: those must be judged."""
    return [
        (index, output)
        for index, outputs in enumerate(seen)
        for tokens, output in outputs.items()
        if not any(len(other) > len(tokens) and other[: len(tokens)] == tokens for other in outputs)
    ]
