"""One server with MoI on: its settings, what else vLLM does to a request that mixes, and what it reports."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from transformers import AutoTokenizer

BAD_SETTINGS: list[tuple[dict[str, Any], str]] = [
    ({"moi_beta": -1}, "beta=-1 is not allowed; beta must be a number >= 0"),
    ({"moi_beta": "much"}, "beta='much' is not allowed"),
    ({"moi_betta": 1}, "moi key 'betta' is unknown"),
    ({"moi_policy": "mio"}, "policy='mio' is unknown"),
    ({"moi_policy": "direct", "moi_beta": 1}, "policy 'direct' has no parameter 'beta'"),
    ({"moi": 0.5}, "settings of MoI begin with 'moi_'"),
    ({"moi_beta": [1, 2]}, "beta must be a single value"),
    ({"moi_top_k": 5}, "is a setting of the server"),
    ({"moi_per_token": 2}, "per_token must be true or false"),
    ({"moi_until": 258}, "until=258 is not allowed; the model's vocabulary has 258 ids"),
    ({"moi_until": "never"}, "until must be 'think_end', a token id or null"),
    ({"moi_seed": -1}, "seed must be an integer in [0, 2^63)"),
    ({"moi_marks": [1, 2]}, "'moi_marks' is unknown"),
]


@pytest.fixture(scope="module")
def tokenizer(moi_server: Any) -> Any:
    return AutoTokenizer.from_pretrained(moi_server.model)


@pytest.mark.parametrize(("xargs", "reason"), BAD_SETTINGS, ids=lambda value: str(value)[:30])
def test_bad_settings_are_a_400_with_the_reason(xargs: Any, reason: str, moi_server: Any) -> None:
    chat = {"messages": [{"role": "user", "content": "x"}]}
    for path, fields in (("/v1/completions", {"prompt": "x"}), ("/v1/chat/completions", chat)):
        body = {"model": "tiny", "max_tokens": 2, "vllm_xargs": xargs, **fields}
        status, text = moi_server.request("POST", path, body)
        assert (status, reason in json.loads(text)["error"]["message"]) == (400, True), text


def test_choices_have_reports_of_their_own(ask: Any, agree: Any, moi_server: Any) -> None:
    (prompt,) = ask.prompts("choices", count=1)
    answer = moi_server.complete(prompt, {"beta": 1.0, "per_token": 1}, n=6, temperature=0.9, seed=7, max_tokens=12)
    reports, choices = answer["kv_transfer_params"]["moi"], answer["choices"]
    assert len({tuple(each["token_ids"]) for each in choices}) > 1
    alone = [{"choices": [choice], "kv_transfer_params": {"moi": [reports[choice["index"]]]}} for choice in choices]
    agree(moi_server.model, [prompt] * 6, [{"beta": 1.0}] * 6, alone, temperature=0.9)


def test_each_choice_has_random_numbers_of_its_own(ask: Any, agree: Any, moi_server: Any) -> None:
    """As vLLM's own seed grows by one with each; the last is as a request alone with that seed."""
    policy, fields = {"policy": "gumbel", "tau": 0.2}, {"temperature": 1.0, "max_tokens": 6}
    prompts, outputs = ask.prompts("noisy choices", count=3), []  # of one drawn text rounding may decide most
    for prompt in prompts:
        noisy = {**policy, "per_token": 1}
        answer = moi_server.complete(prompt, {**noisy, "seed": 2**63 - 2}, n=3, seed=5, **fields)
        alone = moi_server.complete(prompt, {**noisy, "seed": 0}, seed=7, **fields)
        choices = [*answer["choices"], *alone["choices"]]
        reports = [*answer["kv_transfer_params"]["moi"], *alone["kv_transfer_params"]["moi"]]
        assert [each["index"] for each in choices] == [0, 1, 2, 0]
        assert [each["seed"] for each in reports] == [2**63 - 2, 2**63 - 1, 0, 0]
        for choice, report in zip(choices, reports, strict=True):
            outputs.append({"choices": [choice], "kv_transfer_params": {"moi": [report]}})
    asked = [prompt for prompt in prompts for _ in range(4)]
    agree(moi_server.model, asked, [policy] * 12, outputs, temperature=1.0)


def test_the_mixture_is_of_the_logits_after_bias_penalties_and_grammar(moi_server: Any) -> None:
    mixing = {"beta": 1.0, "per_token": 1}
    forced = moi_server.complete([5, 6], mixing, max_tokens=8, logit_bias={"9": 100})
    assert forced["choices"][0]["token_ids"] == [9] * 8
    (report,) = forced["kv_transfer_params"]["moi"]
    assert report["mean_entropy"] == pytest.approx(0, abs=1e-6)
    (free,) = moi_server.complete([5, 6], mixing)["kv_transfer_params"]["moi"]
    (punished,) = moi_server.complete([5, 6], mixing, repetition_penalty=1.9)["kv_transfer_params"]["moi"]
    assert free["entropy"] != punished["entropy"]
    grammar = {"structured_outputs": {"regex": "[ab]{12}"}, "ignore_eos": False}
    chosen = moi_server.complete([5, 6], mixing, max_tokens=12, **grammar)
    assert re.fullmatch("[ab]+", chosen["choices"][0]["text"])
    (report,) = chosen["kv_transfer_params"]["moi"]
    assert 0 < max(report["entropy"]) <= 0.232  # of at most two ids, over K = 20


def test_logprobs_and_stop_strings_of_a_mixed_request(ask: Any, moi_server: Any) -> None:
    (prompt,) = ask.prompts("stopped", count=1)
    sampled = {"temperature": 2.0, "seed": 7}  # the likeliest bytes of a drawn model may form no character
    whole = moi_server.complete(prompt, {"beta": 4.0}, logprobs=2, **sampled)
    choice = whole["choices"][0]
    assert len(choice["logprobs"]["token_logprobs"]) == len(choice["token_ids"])
    stop = next(text for text in choice["text"] if text.isascii() and text.isprintable())
    stopped = moi_server.complete(prompt, {"beta": 4.0}, stop=[stop], **sampled)
    assert stopped["choices"][0]["finish_reason"] == "stop"
    (report,) = stopped["kv_transfer_params"]["moi"]
    assert report["mixed_tokens"] == len(stopped["choices"][0]["token_ids"]) - 1


def test_mixing_stops_at_a_token_and_at_the_end_of_thinking(ask: Any, moi_server: Any, tokenizer: Any) -> None:
    start, end = (tokenizer.encode(each, add_special_tokens=False)[0] for each in "<>")
    bias = {str(start): 4, str(end): 5}  # so that there are some
    for index, prompt in enumerate(ask.prompts("until", count=2)):
        sampling = {"temperature": 1.0, "seed": index, "logit_bias": bias}
        for until, marks in (("think_end", (end, start)), (end, (end, -1))):
            answer = moi_server.complete(prompt, {"beta": 1.0, "until": until}, **sampling)
            tokens, (report,) = answer["choices"][0]["token_ids"], answer["kv_transfer_params"]["moi"]
            assert report["mixed_tokens"] == mixed(prompt, tokens, *marks), until


def mixed(prompt: list[int], tokens: list[int], end: int, start: int) -> int:
    """Tokens that are fed as mixtures: the last mark decides, that which ends mixing is plain; the last is not fed."""
    open_, count = True, 0
    for index, token in enumerate([*prompt, *tokens[:-1]]):
        generated = index >= len(prompt)
        plain = token == end or not open_
        count += generated and not plain
        open_ = token == start or (open_ and token != end)
    return count


def test_the_mixture_is_of_the_logits_after_the_thinking_budget(moi_server: Any, tokenizer: Any) -> None:
    start, end = (tokenizer.encode(each, add_special_tokens=False)[0] for each in "<>")
    settings = {"beta": 1.0, "per_token": 1}
    bias = {str(start): -100, str(end): -100}  # a start that the model says begins the budget anew
    answer = moi_server.complete([5, 6, start], settings, thinking_token_budget=4, max_tokens=12, logit_bias=bias)
    tokens, (report,) = answer["choices"][0]["token_ids"], answer["kv_transfer_params"]["moi"]
    at = tokens.index(end)
    assert at <= 5
    assert report["entropy"][at] == pytest.approx(0, abs=1e-6)
    assert max(report["entropy"][:at]) > 1e-3


def test_a_reset_of_the_cache_drops_what_is_under_way_and_changes_no_output(
    ask: Any, agree: Any, moi_server: Any
) -> None:
    texts = ask.prompts("reset", count=4)
    settings = [{"beta": 4.0, "per_token": 1}] * 4
    with ThreadPoolExecutor(1) as beside:
        running = beside.submit(moi_server.all, texts, settings, max_tokens=64)
        resets, before = 0, moi_server.counter("generation_tokens")
        while not running.done():
            if moi_server.counter("generation_tokens") < before + 24:
                continue
            status, _ = moi_server.request("POST", "/reset_prefix_cache?reset_running_requests=true")
            resets, before = resets + (status == 200), moi_server.counter("generation_tokens")
        answers = running.result()
    assert resets
    agree(moi_server.model, texts, settings, answers)
    replayed = sum(answer["kv_transfer_params"]["moi"][0]["replayed_tokens"] for answer in answers)
    assert 0 < replayed <= counters(moi_server)["replayed_tokens"]


def test_streams_give_the_same_text(ask: Any, moi_server: Any) -> None:
    (prompt,) = ask.prompts("streamed", count=1)
    moi_server.reset()
    body = {"model": "tiny", "prompt": prompt, "max_tokens": 24, "temperature": 0, "ignore_eos": True}
    pieces = list(moi_server.stream("/v1/completions", {**body, **ask.xargs({"beta": 4.0})}))
    moi_server.reset()
    answer = moi_server.complete(prompt, {"beta": 4.0}, max_tokens=24)
    assert "".join(each["choices"][0]["text"] for each in pieces if each["choices"]) == answer["choices"][0]["text"]


def test_metrics_count_mixed_and_refused(moi_server: Any) -> None:
    before = counters(moi_server)
    moi_server.complete([5, 6, 7], {"beta": 1.0}, max_tokens=10)
    moi_server.request("POST", "/v1/completions", {"model": "tiny", "prompt": "x", "vllm_xargs": {"moi_beta": -1}})
    after = counters(moi_server)
    grown = {name: after[name] - before.get(name, 0.0) for name in after}
    assert grown["mixed_tokens"] == grown["observed_tokens"] == 10
    assert 0 < grown["entropy"] <= 10
    assert 0 < grown["intervention"] <= 5
    assert grown["refused_requests"] == 1


def counters(server: Any) -> dict[str, float]:
    status, text = server.request("GET", "/metrics")
    assert status == 200
    found = re.findall(r"^moi_(\w+)_total\{[^}]*\} (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in found}
