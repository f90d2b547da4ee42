"""The prefix cache never shares what a mixture went into, and still shares prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moi import MoIConfig

REPORT = {"return_logprob": True}


@pytest.fixture
def mixed(ask: Any, moi_server: Any) -> tuple[list[list[int]], list[list[int]]]:
    """Prompts, and prompt + output of mixed requests that have just ended on an emptied cache."""
    moi_server.flush()
    texts = ask.prompts(seed=4, count=4)
    outputs = moi_server.generate(texts, ask.greedy({"beta": 1.0}))
    return texts, [text + output["output_ids"] for text, output in zip(texts, outputs, strict=True)]


def test_a_plain_request_on_prompt_and_output_gets_what_a_fresh_server_gives(
    ask: Any, mixed: Any, moi_server: Any, plain_server: Any
) -> None:
    texts, longer = mixed
    plain = ask.greedy({"policy": "token"}, max_new_tokens=24)
    plain_server.flush()
    fresh = plain_server.generate(longer, ask.greedy(None, max_new_tokens=24), **REPORT)
    for text, whole, want in zip(texts, longer, fresh, strict=True):
        output = moi_server.generate(whole, plain, **REPORT)
        assert output["meta_info"]["cached_tokens"] <= len(text)
        assert output["output_ids"] == want["output_ids"]
        logprobs = [[each[0] for each in o["meta_info"]["output_token_logprobs"]] for o in (output, want)]
        assert logprobs[0] == pytest.approx(logprobs[1], abs=1e-4)


def test_a_mixed_request_on_prompt_and_output_gets_what_a_fresh_server_gives(
    ask: Any, mixed: Any, moi_server: Any, qwen2: Path, agree: Any
) -> None:
    texts, longer = mixed
    for text, whole in zip(texts, longer, strict=True):
        output = moi_server.generate(whole, ask.greedy({"per_token": True}, max_new_tokens=24))
        assert output["meta_info"]["cached_tokens"] <= len(text)
        agree(qwen2, [whole], [MoIConfig()], [output], max_new_tokens=24)


def test_requests_that_share_only_the_prompt_hit(
    ask: Any, mixed: Any, moi_server: Any, qwen2: Path, agree: Any
) -> None:
    texts, _ = mixed
    for settings in ({"beta": 2.0}, {"policy": "token"}):
        for text in texts:
            output = moi_server.generate(text, ask.greedy(settings, max_new_tokens=24))
            assert output["meta_info"]["cached_tokens"] == len(text) - 1
            agree(qwen2, [text], [ask.config(settings)], [output], max_new_tokens=24)


def test_a_mixed_request_may_use_what_a_plain_one_generated(ask: Any, moi_server: Any, qwen2: Path, agree: Any) -> None:
    moi_server.flush()
    text = ask.prompts(seed=5, count=1)[0]
    plain = moi_server.generate(text, ask.greedy({"policy": "token"}))
    whole = text + plain["output_ids"]
    output = moi_server.generate(whole, ask.greedy({}, max_new_tokens=24))
    assert output["meta_info"]["cached_tokens"] >= len(whole) - 1
    agree(qwen2, [whole], [MoIConfig()], [output], max_new_tokens=24)
