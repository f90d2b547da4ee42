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

    def prompts(*lengths: int) -> list[list[int]]:
        return [[rng.randrange(2, 258) for _ in range(length)] for length in lengths]

    of_40 = {"pressed": prompts(*[40] * 6), "cached": prompts(*[40] * 3), "chunks": prompts(*[40] * 8)}
    return {"plain": prompts(12, 40, 7, 33, 20, 9, 35, 5), "reset": prompts(*[9] * 6), **of_40}


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
    folder, told, prompts = vllm_model("qwen3"), runs[0]["cache "], cases["cached"]
    for each in told:
        assert each["after"]["cached"] == each["again"]["cached"] == 32  # the whole blocks of the prompt
        assert apart(each["after"], each["wanted"]) < 1e-4
    longer = [prompt + each["mixed"]["token_ids"][:28] for prompt, each in zip(prompts, told, strict=True)]
    for names, texts, settings in ((("mixed", "again"), prompts, {"beta": 1.0}), (("after", "wanted"), longer, None)):
        outputs = [output(each[name]) for name in names for each in told]
        agree(folder, texts * 2, [settings] * len(outputs), outputs)


def test_without_keys_of_its_own_a_plain_request_takes_what_was_mixed(runs: Any) -> None:
    found = runs[0]["cache keys"]
    assert min(each["after"]["cached"] for each in found) > 40  # the prompt
    assert max(apart(each["after"], each["wanted"]) for each in found) > 1e-3


def apart(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Between the logprobs of the first tokens, which follow the same text."""
    first, second = one["logprobs"][0], other["logprobs"][0]
    return max(abs(first[key] - second[key]) if key in second else 1.0 for key in first)


def test_preempted_requests_are_replayed_as_their_mixtures(
    runs: Any, cases: dict[str, Any], agree: Any, vllm_model: Any
) -> None:
    found, texts = runs[0]["pressed "], cases["pressed"]
    assert found["preemptions"] >= 2
    agree(vllm_model("qwen3"), texts, [{"beta": 2.0}] * 6, [output(each) for each in found["outputs"]])
    replayed = [each["moi"]["replayed_tokens"] for each in found["outputs"]]
    assert max(replayed) > 0
    assert [each["moi"]["mixed_tokens"] for each in found["outputs"]] == [63] * 6


def test_without_a_replay_they_are_not_what_they_should_be(
    runs: Any, cases: dict[str, Any], agree: Any, vllm_model: Any
) -> None:
    found, texts = runs[0]["pressed replay"], cases["pressed"]
    outputs = [output(each) for each in found["outputs"]]
    assert agree.judge(vllm_model("qwen3"), texts, [{"beta": 2.0}] * 6, outputs).departures


def test_what_a_reset_drops_is_forgotten(runs: Any, cases: dict[str, Any], agree: Any, vllm_model: Any) -> None:
    """Tokens under way when the cache is reset are sampled anew, and so are their mixtures."""
    found, texts = runs[0]["reset "], cases["reset"]
    assert found["cut"] >= 1
    agree(vllm_model("qwen3"), texts, [{"beta": 2.0}] * 6, [output(each) for each in found["outputs"]])
    assert all(each["moi"]["replayed_tokens"] > 0 for each in found["outputs"])


def test_with_mixtures_of_dropped_tokens_a_request_cannot_go_on(runs: Any) -> None:
    """They are found not to be those of its tokens, and the request ends in an error."""
    found = runs[0]["reset cut"]
    assert found["cut"] >= 1
    assert "error" in [each["finish_reason"] for each in found["outputs"]]


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
