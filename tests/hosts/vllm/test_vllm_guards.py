"""Plain requests are as without the plugin, and hazards are guarded against: what a guard prevents is seen without it.

vLLM runs as a library in one process, with asynchronous scheduling, short of memory, and prefills in chunks of 32.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from moi_engines.parity import Output


@pytest.fixture(scope="module")
def cases(ask: Any) -> dict[str, Any]:
    rng = ask.random("guards")

    def prompt(length: int) -> list[int]:
        return [rng.randrange(2, 258) for _ in range(length)]

    return {"plain": [prompt(n) for n in (12, 40, 7, 33, 20, 9, 35, 5)], "pressed": [prompt(40) for _ in range(4)]} | {
        "prompt": prompt(40)
    }


@pytest.fixture(scope="module")
def runs(cases: dict[str, Any], run_child: Any, vllm_model: Any, tmp_path_factory: Any) -> tuple[Any, Any]:
    """What vLLM does with the plugin, and without."""
    file = Path(tmp_path_factory.mktemp("guards")) / "cases.json"
    file.write_text(json.dumps(cases))
    asked = "library_child.py", vllm_model("qwen3"), file
    return run_child(*asked, MOI_TEST_ASYNC="1"), run_child(*asked, MOI_TEST_ASYNC="1", VLLM_PLUGINS="none")


def output(told: dict[str, Any]) -> Output:
    moi = told["moi"] or {}
    return Output(told["token_ids"], None, moi.get("entropy"), moi.get("intervention"))


def test_plain_requests_are_byte_identical_without_the_plugin_with_it_and_beside_mixed_ones(runs: Any) -> None:
    """Tokens and logprobs: greedy, sampled by seeds, with penalties and bias."""
    with_plugin, without = runs
    assert with_plugin["async"]
    assert len(without["plain"][0]["logprobs"]) == 24
    assert with_plugin["plain"] == without["plain"]
    assert with_plugin["beside"] == without["plain"]


def test_the_prefix_cache_never_shares_what_a_mixture_went_into(
    runs: Any, cases: dict[str, Any], agree: Any, vllm_model: Any
) -> None:
    found, prompt = runs[0]["cache "], cases["prompt"]
    assert found["after"]["cached"] == found["again"]["cached"] == 32  # the whole blocks of the prompt
    longer = prompt + found["mixed"]["token_ids"][:28]
    folder, mixing = vllm_model("qwen3"), {"beta": 2.0}
    agree(folder, [prompt] * 2, [mixing] * 2, [output(found["mixed"]), output(found["again"])])
    agree(folder, [longer] * 2, [None] * 2, [output(found["after"]), output(found["wanted"])])
    assert apart(found["after"], found["wanted"]) < 1e-4


def test_without_keys_of_its_own_a_plain_request_takes_what_was_mixed(runs: Any, cases: dict[str, Any]) -> None:
    found = runs[0]["cache keys"]
    assert found["after"]["cached"] > len(cases["prompt"])
    assert apart(found["after"], found["wanted"]) > 1e-3


def apart(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Between the logprobs of the first tokens, which follow the same text."""
    first, second = one["logprobs"][0], other["logprobs"][0]
    return max(abs(first[key] - second[key]) if key in second else 1.0 for key in first)


def test_preempted_requests_are_replayed_as_their_mixtures(
    runs: Any, cases: dict[str, Any], agree: Any, vllm_model: Any
) -> None:
    found, texts = runs[0]["pressed "], cases["pressed"]
    assert found["preemptions"] >= 2
    agree(vllm_model("qwen3"), texts, [{"beta": 2.0}] * 4, [output(each) for each in found["outputs"]])
    replayed = [each["moi"]["replayed_tokens"] for each in found["outputs"]]
    assert max(replayed) > 0
    assert [each["moi"]["mixed_tokens"] for each in found["outputs"]] == [63] * 4


def test_without_a_replay_they_are_not_what_they_should_be(
    runs: Any, cases: dict[str, Any], agree: Any, vllm_model: Any
) -> None:
    found, texts = runs[0]["pressed replay"], cases["pressed"]
    outputs = [output(each) for each in found["outputs"]]
    assert not agree.judge(vllm_model("qwen3"), texts, [{"beta": 2.0}] * 4, outputs).agrees


def test_a_chunk_of_a_prompt_decides_nothing(runs: Any, cases: dict[str, Any]) -> None:
    """A chunk samples, too: its token must not be taken for the one that stops the mixing."""
    found = runs[0]["chunked "]
    tokens = found["output"]["token_ids"]
    until = tokens.index(found["stop"]) if found["stop"] in tokens else len(tokens)
    assert found["output"]["moi"]["mixed_tokens"] == min(until, len(tokens) - 1)
    if until > 0:
        assert runs[0]["chunked chunks"]["output"]["moi"]["mixed_tokens"] == 0


def test_a_request_that_brings_no_mixture_is_ended_with_an_error(runs: Any) -> None:
    """As from a worker that loaded no plugin; the others go on."""
    (ended,) = runs[0]["no rows"]
    assert ended["finish_reason"] == "error"
    assert ended["token_ids"] == []
    (after,) = runs[0]["plain after"]
    assert (after["finish_reason"], len(after["token_ids"])) == ("length", 8)


def test_nothing_is_left_behind(runs: Any) -> None:
    assert runs[0]["left behind"]["states"] == 0
    assert runs[0]["left behind"]["replaying"] == 0
    assert runs[0]["left behind"]["steps"] <= 2
