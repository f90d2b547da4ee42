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
    texts = ask.prompts("mixed", count=4)
    outputs = moi_server.generate(texts, ask.greedy({"beta": 1.0}))
    return texts, [text + output["output_ids"] for text, output in zip(texts, outputs, strict=True)]


def test_a_plain_request_on_prompt_and_output_gets_what_a_fresh_server_gives(
    ask: Any, mixed: Any, moi_server: Any, plain_server: Any, qwen2: Path, agree: Any
) -> None:
    texts, longer = mixed
    plain = ask.greedy({"policy": "token"}, max_new_tokens=24)
    plain_server.flush()
    fresh = plain_server.generate(longer, ask.greedy(None, max_new_tokens=24), **REPORT)
    for text, whole, want in zip(texts, longer, fresh, strict=True):
        output = moi_server.generate(whole, plain, **REPORT)
        assert output["meta_info"]["cached_tokens"] <= len(text)
        agree(qwen2, [whole], [MoIConfig("token")], [output], max_new_tokens=24)
        first, fresh_first = (each["meta_info"]["output_token_logprobs"][0] for each in (output, want))
        assert first[0] == pytest.approx(fresh_first[0], abs=1e-4)


def test_a_mixed_request_on_prompt_and_output_gets_what_a_fresh_server_gives(
    ask: Any, mixed: Any, moi_server: Any, qwen2: Path, agree: Any
) -> None:
    texts, longer = mixed
    outputs = [moi_server.generate(whole, ask.greedy({"per_token": True}, max_new_tokens=24)) for whole in longer]
    for text, output in zip(texts, outputs, strict=True):
        assert output["meta_info"]["cached_tokens"] <= len(text)
    agree(qwen2, longer, [MoIConfig()] * len(texts), outputs, max_new_tokens=24)


def test_requests_that_share_only_the_prompt_hit(
    ask: Any, mixed: Any, moi_server: Any, qwen2: Path, agree: Any
) -> None:
    texts, _ = mixed
    for settings in ({"beta": 2.0}, {"policy": "token"}):
        outputs = [moi_server.generate(text, ask.greedy(settings, max_new_tokens=24)) for text in texts]
        for text, output in zip(texts, outputs, strict=True):
            assert output["meta_info"]["cached_tokens"] == len(text) - 1
        agree(qwen2, texts, [ask.config(settings)] * len(texts), outputs, max_new_tokens=24)


def test_a_mixed_request_may_use_what_a_plain_one_generated(ask: Any, moi_server: Any, qwen2: Path, agree: Any) -> None:
    moi_server.flush()
    wholes, outputs = [], []
    for text in ask.prompts("plain", count=6):
        wholes.append(text + moi_server.generate(text, ask.greedy({"policy": "token"}))["output_ids"])
        outputs.append(moi_server.generate(wholes[-1], ask.greedy({"beta": 4.0}, max_new_tokens=24)))
        assert outputs[-1]["meta_info"]["cached_tokens"] >= len(wholes[-1]) - 1
    agree(qwen2, wholes, [MoIConfig(beta=4.0)] * 6, outputs, max_new_tokens=24)
