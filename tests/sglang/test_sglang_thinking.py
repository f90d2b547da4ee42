"""`until="think_end"`: a request mixes while the model thinks, and decodes plainly once it answers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moi import MoIConfig

TOKENS = 48
PROMPT = [9, 61, 200, 17, 33]


@pytest.fixture(scope="module")
def always(qwen2: Path, expected: Any) -> list[int]:
    """What the model generates when it mixes to the end."""
    return list(expected(qwen2, [PROMPT], [MoIConfig()], TOKENS)[0].token_ids)


@pytest.fixture(scope="module")
def think_end(always: list[int]) -> int:
    """A token that is first generated after a while."""
    return next(token for token in always[8:] if always.index(token) >= 8)


@pytest.fixture(scope="module")
def server(make_server: Any, qwen2: Path, think_end: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Thinking is the default; the tokenizer calls the token `</think>`."""
    model = tmp_path_factory.mktemp("thinking") / "qwen2"
    shutil.copytree(qwen2, model)
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    vocab = tokenizer["model"]["vocab"]
    vocab["</think>"] = vocab.pop(next(word for word, index in vocab.items() if index == think_end))
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    tokenizer["added_tokens"].append({"id": think_end, "content": "</think>", "special": True, **flags})
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    with make_server(model, "--enable-moi", "--moi-until", "think_end") as running:
        yield running


def test_thinking_is_mixed_and_the_answer_is_not(
    ask: Any, server: Any, qwen2: Path, always: list[int], think_end: int
) -> None:
    output = server.generate(PROMPT, ask.greedy({}, max_new_tokens=TOKENS))
    thought = always.index(think_end)
    assert output["output_ids"][: thought + 1] == always[: thought + 1]
    assert output["meta_info"]["moi"]["mixed_tokens"] == thought
    assert output["output_ids"] != always, "mixing or not makes no difference to this model: the test says nothing"


def test_a_request_may_mix_to_the_end(ask: Any, server: Any, always: list[int]) -> None:
    output = server.generate(PROMPT, ask.greedy({"until": None}, max_new_tokens=TOKENS))
    assert output["output_ids"] == always


def test_a_prompt_whose_thinking_block_is_closed_is_not_mixed(
    ask: Any, server: Any, qwen2: Path, expected: Any, think_end: int
) -> None:
    closed = [*PROMPT, think_end, 12]
    output = server.generate(closed, ask.greedy({}, max_new_tokens=TOKENS))
    plain = expected(qwen2, [closed], [MoIConfig("token")], TOKENS)[0]
    assert output["output_ids"] == list(plain.token_ids)
    assert output["meta_info"]["moi"]["mixed_tokens"] == 0
