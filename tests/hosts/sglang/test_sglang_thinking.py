"""`until="think_end"`: a request mixes while the model thinks, also when it begins again, and answers plainly.

The marks are tokens that the drawn model writes by itself, with some of the prompts.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moi import MoIConfig
from moi_engines import SamplingParams
from moi_engines.torch_engine import TorchEngine

TOKENS = 48
NO_MARKS = (0, 1, *range(230, 250))  # the tokenizer's own, and what the cases below fill prompts with


def likely(engine: TorchEngine, prompts: list[list[int]], config: MoIConfig, after: int, other: int = -1) -> int:
    """The token that most of the outputs have first after `after` tokens and before the last ten."""
    sampling = SamplingParams(temperature=0, max_new_tokens=TOKENS, ignore_eos=True)
    found: Counter[int] = Counter()
    for output in engine.generate(prompts, sampling, config):
        tokens = list(output.token_ids)
        found.update(set(tokens[after:-10]) - set(tokens[:after]) - {other, *NO_MARKS})
    return found.most_common(1)[0][0]


@pytest.fixture(scope="module")
def prompts(ask: Any) -> list[list[int]]:
    drawn: list[list[int]] = ask.prompts("thinking", count=16)
    return drawn


@pytest.fixture(scope="module")
def llama(random_model: Any) -> Path:
    folder: Path = random_model("llama")
    return folder


@pytest.fixture(scope="module")
def think_end(llama: Path, prompts: list[list[int]]) -> int:
    return likely(TorchEngine(llama, device="cpu"), prompts, MoIConfig(), 6)


@pytest.fixture(scope="module")
def think_start(llama: Path, prompts: list[list[int]], think_end: int) -> int:
    closed = [[*prompt, think_end, 230] for prompt in prompts]
    return likely(TorchEngine(llama, device="cpu"), closed, MoIConfig("token"), 2, think_end)


@pytest.fixture(scope="module")
def server(
    make_server: Any, llama: Path, think_start: int, think_end: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """Thinking is the default; the tokenizer calls the tokens `<think>` and `</think>`."""
    model = tmp_path_factory.mktemp("thinking") / "llama"
    shutil.copytree(llama, model)
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    vocab = tokenizer["model"]["vocab"]
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    for mark, token in (("<think>", think_start), ("</think>", think_end)):
        vocab[mark] = vocab.pop(next(word for word, index in vocab.items() if index == token))
        tokenizer["added_tokens"].append({"id": token, "content": mark, "special": True, **flags})
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    with make_server(model, "--enable-moi", "--moi-until", "think_end") as running:
        yield running


class Thinks:
    """Requests to the server, judged as mixing while the last mark says so."""

    def __init__(self, ask: Any, agree: Any, server: Any, model: Path) -> None:
        self._ask, self._agree, self._server, self._model = ask, agree, server, model

    def __call__(self, prompts: list[list[int]], settings: Any, end: int, start: int = -1) -> list[dict[str, Any]]:
        params = self._ask.greedy({"per_token": True, **settings}, max_new_tokens=TOKENS)
        outputs: list[dict[str, Any]] = self._server.generate(prompts, params)
        configs, marks = [MoIConfig()] * len(prompts), [(end, start)] * len(prompts)
        self._agree(self._model, prompts, configs, outputs, marks=marks, max_new_tokens=TOKENS)
        for prompt, output in zip(prompts, outputs, strict=True):
            mixed = self._ask.mixed_tokens(prompt, output["output_ids"], end, start)
            assert output["meta_info"]["moi"]["mixed_tokens"] == mixed
        return outputs


@pytest.fixture(scope="module")
def thinks(ask: Any, agree: Any, server: Any, llama: Path) -> Thinks:
    return Thinks(ask, agree, server, llama)


def test_thinking_is_mixed_and_the_answer_is_not(
    thinks: Thinks, prompts: list[list[int]], think_start: int, think_end: int
) -> None:
    outputs = thinks(prompts, {}, think_end, think_start)
    assert any(think_end in output["output_ids"][1:-1] for output in outputs)
    assert any(0 < output["meta_info"]["moi"]["mixed_tokens"] < TOKENS - 1 for output in outputs)


def test_a_request_may_mix_to_the_end(thinks: Thinks, prompts: list[list[int]]) -> None:
    outputs = thinks(prompts, {"until": None}, -1)
    assert {output["meta_info"]["moi"]["mixed_tokens"] for output in outputs} == {TOKENS - 1}


@pytest.mark.parametrize(
    ("case", "mixes"),
    [("E .", False), ("S E . . . . . . . . . . . .", False), ("S . E . . S .", True), ("S", True)],
    ids=["closed", "closed, and an answer begun", "open again", "open"],
)
def test_the_last_mark_of_a_prompt_decides_and_a_generated_one_after_it(
    case: str, mixes: bool, thinks: Thinks, prompts: list[list[int]], think_start: int, think_end: int
) -> None:
    marks = {"S": think_start, "E": think_end}
    added = [marks.get(word, 230 + place) for place, word in enumerate(case.split())]
    for output in thinks([[*prompt, *added] for prompt in prompts[:4]], {}, think_end, think_start):
        told = output["meta_info"]["moi"]
        assert (told["intervention"][0] > 0) == (mixes and output["output_ids"][0] != think_end)


def test_thinking_that_the_model_begins_again_is_mixed(
    thinks: Thinks, prompts: list[list[int]], think_start: int, think_end: int
) -> None:
    outputs = thinks([[*prompt, think_end, 230] for prompt in prompts], {}, think_end, think_start)
    assert any(output["meta_info"]["moi"]["mixed_tokens"] for output in outputs)


def test_an_id_counts_wherever_it_stands_and_nothing_reopens_it(
    thinks: Thinks, prompts: list[list[int]], think_start: int, think_end: int
) -> None:
    closed = [[*prompt, think_end, *range(231, 243), think_start, 230] for prompt in prompts[:4]]
    for output in thinks(closed, {"until": think_end}, think_end):
        assert output["meta_info"]["moi"]["mixed_tokens"] == 0
