"""`until="think_end"`: a request mixes while the model thinks, also when it begins again, and answers plainly."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from moi import MoIConfig, embed, mix

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
def think_start(qwen2: Path, expected: Any, think_end: int) -> int:
    """A token that is first generated after a while where thinking is over."""
    closed = [*PROMPT, think_end, 12]
    plain = list(expected(qwen2, [closed], [MoIConfig("token")], TOKENS)[0].token_ids)
    return next(token for token in plain[4:24] if plain.index(token) >= 4 and token not in closed)


@pytest.fixture(scope="module")
def server(
    make_server: Any, qwen2: Path, think_start: int, think_end: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """Thinking is the default; the tokenizer calls the tokens `<think>` and `</think>`."""
    model = tmp_path_factory.mktemp("thinking") / "qwen2"
    shutil.copytree(qwen2, model)
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    vocab = tokenizer["model"]["vocab"]
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    for mark, token in (("<think>", think_start), ("</think>", think_end)):
        vocab[mark] = vocab.pop(next(word for word, index in vocab.items() if index == token))
        tokenizer["added_tokens"].append({"id": token, "content": mark, "special": True, **flags})
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


@torch.inference_mode()
def reference(folder: Path, prompt: list[int], start: int, end: int) -> tuple[list[int], int]:
    """Greedy tokens, and how many were fed as mixtures, where the last mark before a token decides."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    table = model.get_input_embeddings().weight
    x, cache, tokens, mixed = table[torch.tensor([prompt])], None, [], 0
    for _ in range(TOKENS):
        out = model(inputs_embeds=x, past_key_values=cache, use_cache=True)
        logits, cache = out.logits[:, -1], out.past_key_values
        marks = [mark for mark in prompt + tokens if mark in (start, end)]
        tokens.append(int(logits.argmax(-1)))
        mixes = (not marks or marks[-1] == start) and tokens[-1] != end
        mixed += mixes
        x = embed(mix(logits, logits.argmax(-1), policy="moi" if mixes else "token"), table)[:, None]
    return tokens, mixed - mixes


@pytest.mark.parametrize(
    ("case", "mixes"),
    [("E 12", None), ("S E 21 22 23 24 25 26 27 28 29 30 31 32", None), ("S 5 E 21 22 S 23", True), ("S", True)],
    ids=["closed", "closed, and an answer begun", "open again", "open"],
)
def test_the_last_mark_of_a_prompt_decides_and_a_generated_one_after_it(
    case: str, mixes: bool | None, ask: Any, server: Any, qwen2: Path, think_start: int, think_end: int
) -> None:
    marks = {"S": think_start, "E": think_end}
    prompt = [*PROMPT, *(marks.get(word) or int(word) for word in case.split())]
    output = server.generate(prompt, ask.greedy({}, max_new_tokens=TOKENS))
    tokens, mixed = reference(qwen2, prompt, think_start, think_end)
    assert output["output_ids"] == tokens
    assert output["meta_info"]["moi"]["mixed_tokens"] == mixed
    if mixes:
        assert mixed > 0
    elif think_start not in tokens:
        assert mixed == 0


def test_thinking_that_the_model_begins_again_is_mixed(
    ask: Any, server: Any, qwen2: Path, expected: Any, think_start: int, think_end: int
) -> None:
    closed = [*PROMPT, think_end, 12]
    plain = list(expected(qwen2, [closed], [MoIConfig("token")], TOKENS)[0].token_ids)
    output = server.generate(closed, ask.greedy({}, max_new_tokens=TOKENS))
    again = plain.index(think_start)
    assert output["output_ids"][: again + 2] == plain[: again + 2]
    assert output["meta_info"]["moi"]["mixed_tokens"] > 0


def test_an_id_counts_wherever_it_stands_and_nothing_reopens_it(
    ask: Any, server: Any, qwen2: Path, expected: Any, think_start: int, think_end: int
) -> None:
    prompt = [*PROMPT, think_end, *range(20, 32), think_start, 9]
    output = server.generate(prompt, ask.greedy({"until": think_end}, max_new_tokens=TOKENS))
    plain = expected(qwen2, [prompt], [MoIConfig("token")], TOKENS)[0]
    assert output["output_ids"] == list(plain.token_ids)
    assert output["meta_info"]["moi"]["mixed_tokens"] == 0
