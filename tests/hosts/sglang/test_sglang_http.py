"""MoI over HTTP: settings, refusals, telemetry and metrics on one server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from moi import MoIConfig

TOKENS = 48


BAD_SETTINGS: list[tuple[Any, str]] = [
    ({"beta": -1}, "beta=-1 is not allowed; beta must be a number >= 0"),
    ({"beta": "1"}, "beta='1' is not allowed"),
    ({"gamma": 1}, "moi key 'gamma' is unknown; allowed: policy, beta, until, per_token"),
    ({"top_k": 5}, "moi key 'top_k' is a setting of the server; start it with --moi-top-k"),
    ({"policy": "x"}, "policy='x' is unknown; allowed: token, moi, direct"),
    ({"until": "later"}, "until='later' is not allowed"),
    ({"until": 10_000}, "until=10000 is not allowed; the model's vocabulary has 258 ids"),
    ({"until": "think_end"}, "until='think_end' needs a model whose thinking ends with one token"),
    ({"per_token": 1}, "per_token=1 is not allowed"),
    (3, "custom_params['moi']=3 is not allowed; it must be a dict of settings"),
]


@pytest.fixture(scope="module")
def bare_workers(make_server: Any, qwen2: Path) -> Iterator[Any]:
    """Two tokenizer workers, which load no plugins, and no prefix cache, without which SGLang takes embeddings."""
    with make_server(qwen2, "--enable-moi", "--disable-radix-cache", "--tokenizer-worker-num", "2") as server:
        yield server


@pytest.mark.parametrize(("settings", "reason"), BAD_SETTINGS)
def test_bad_settings_are_a_400_with_the_reason(settings: Any, reason: str, moi_server: Any) -> None:
    params = {"max_new_tokens": 4, "custom_params": {"moi": settings}}
    status, text = moi_server.request("POST", "/generate", {"input_ids": [5, 6], "sampling_params": params})
    assert (status, reason in json.loads(text)["error"]["message"]) == (400, True), text
    chat = {"model": "tiny", "messages": [{"role": "user", "content": "x"}], "max_tokens": 4}
    status, text = moi_server.request("POST", "/v1/chat/completions", {**chat, "custom_params": {"moi": settings}})
    assert (status, reason in text) == (400, True), text


def test_bad_settings_that_no_tokenizer_worker_checked_are_a_400_of_the_scheduler(ask: Any, bare_workers: Any) -> None:
    for settings, reason in BAD_SETTINGS:
        params = {"max_new_tokens": 4, "custom_params": {"moi": settings}}
        status, text = bare_workers.request("POST", "/generate", {"input_ids": [5, 6], "sampling_params": params})
        assert (status, reason in text) == (400, True), text
    output = bare_workers.generate([5, 6], ask.greedy({"beta": 2}, max_new_tokens=4))
    assert len(output["meta_info"]["moi"]) == len(output["output_ids"]) == 4


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"input_ids": [5, 6], "session_params": {"id": "s"}}, "session_params does not go with mixing"),
        (
            {"input_ids": [5, 6], "sampling_params": {"beam_width": 2, "max_new_tokens": 4}},
            "beam_width=2 does not go with mixing",
        ),
    ],
)
def test_what_does_not_go_with_mixing_is_a_400_with_the_reason(fields: Any, reason: str, moi_server: Any) -> None:
    if "session_params" in fields:
        session = {"capacity_of_str_len": 1000, "session_id": "s"}
        assert moi_server.request("POST", "/open_session", session)[0] == 200
    status, text = moi_server.request("POST", "/generate", {"sampling_params": {"max_new_tokens": 4}, **fields})
    assert (status, reason in text) == (400, True), text
    assert moi_server.healthy()


def test_embeddings_as_input_are_refused_and_disturb_nobody_in_the_batch(
    ask: Any, bare_workers: Any, qwen2: Path, agree: Any
) -> None:
    """SGLang itself dies of a batch that has both kinds of input."""
    refused = {
        **{"input_embeds": [[0.5] * 32] * 3, "sampling_params": {"max_new_tokens": 4}},
        **{"return_logprob": True, "logprob_start_len": 2},
    }
    texts = ask.prompts("beside embeddings", count=8)
    with ThreadPoolExecutor(12) as at_once:
        bad = [at_once.submit(bare_workers.request, "POST", "/generate", refused) for _ in range(4)]
        good = [at_once.submit(bare_workers.generate, text, ask.greedy({}, max_new_tokens=TOKENS)) for text in texts]
        for status, told in (each.result() for each in bad):
            assert (status, "input_embeds does not go with mixing" in told) == (400, True), told
        agree(qwen2, texts, [MoIConfig()] * 8, [each.result() for each in good], max_new_tokens=TOKENS)


def test_beam_search_is_that_of_a_server_without_the_plugin(ask: Any, moi_server: Any, plain_server: Any) -> None:
    """Also in slots that mixed requests on the same prompt have left, while another one runs."""

    def beams(server: Any, prompt: list[int]) -> tuple[list[list[int]], list[float]]:
        params = ask.greedy({"policy": "token"}, beam_width=4, n=4, max_new_tokens=16)
        (output,) = server.generate([prompt], params)
        found = output["meta_info"]["beam_results"]
        return [beam["output_ids"] for beam in found], [beam["meta_info"]["sequence_score"] for beam in found]

    with ThreadPoolExecutor(1) as beside:
        for prompt in ([9, 8, 7, 6, 5, 40, 41], [50, 51, 52], [100, 7, 30, 2, 9]):
            want = beams(plain_server, prompt)
            for length in (1, 2, 3, 5, 8):
                moi_server.generate([prompt] * 6, ask.greedy({"beta": 2.0}, max_new_tokens=length))
                running = beside.submit(moi_server.generate, [3, 4, 5], ask.greedy({}, max_new_tokens=60))
                ids, scores = beams(moi_server, prompt)
                running.result()
                assert scores == pytest.approx(want[1], abs=1e-4), (prompt, length)
                assert apart(ids, scores) == apart(*want), (prompt, length)


def apart(ids: list[list[int]], scores: list[float]) -> list[list[int]]:
    """The beams whose places no tie decides."""
    near = [any(abs(score - other) < 1e-3 for other in scores[:i] + scores[i + 1 :]) for i, score in enumerate(scores)]
    return [beam for beam, tied in zip(ids, near, strict=True) if not tied]


def test_telemetry_is_in_streams_and_chats_and_absent_from_plain_requests(ask: Any, moi_server: Any) -> None:
    body = {"input_ids": [5, 6, 7], "sampling_params": ask.greedy({}, max_new_tokens=12)}
    chunks = list(moi_server.stream("/generate", body))
    counts = [chunk["meta_info"]["moi"]["mixed_tokens"] for chunk in chunks]
    assert counts[-1] == 11
    assert counts == sorted(counts)
    assert set(chunks[-1]["meta_info"]["moi"]) == {
        *("mean_entropy", "mean_intervention", "mixed_tokens", "replayed_tokens")
    }
    body["sampling_params"] = ask.greedy({"policy": "token"}, max_new_tokens=12)
    assert all("moi" not in chunk["meta_info"] for chunk in moi_server.stream("/generate", body))

    chat = {"model": "tiny", "messages": [{"role": "user", "content": "x"}], "max_tokens": 8, "return_meta_info": True}
    status, text = moi_server.request("POST", "/v1/chat/completions", chat)
    assert status == 200
    assert 0 < json.loads(text)["choices"][0]["meta_info"]["moi"]["mean_entropy"] <= 1


def test_the_openai_client_streams_a_mixed_chat(ask: Any, moi_server: Any, qwen2: Path, agree: Any) -> None:
    """The text of /generate, whose tokens are judged: both without a cached prompt, so that they round alike."""
    openai = pytest.importorskip("openai")
    from transformers import AutoTokenizer

    tokenizer, prompts, outputs, lengths = AutoTokenizer.from_pretrained(qwen2), [], [], []
    with openai.OpenAI(base_url=f"http://127.0.0.1:{moi_server.port}/v1", api_key="none") as client:
        for number in ask.random("chats").sample(range(1000), 6):
            messages = [{"role": "user", "content": f"count to {number}"}]
            moi_server.flush()
            stream = client.chat.completions.create(
                *(),
                model="tiny",
                messages=messages,
                temperature=0,
                max_tokens=TOKENS,
                stream=True,
                extra_body={"custom_params": {"moi": {"beta": 4.0}}, "ignore_eos": True},
            )
            pieces = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
            chat = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)
            prompts.append(list(chat["input_ids"]))
            moi_server.flush()
            outputs.append(moi_server.generate(prompts[-1], ask.greedy({"beta": 4.0}, max_new_tokens=TOKENS)))
            whole = tokenizer.decode(outputs[-1]["output_ids"], skip_special_tokens=True)
            assert "".join(pieces) == outputs[-1]["text"] == whole
            lengths.append(len(pieces))
    assert max(lengths) > 2
    agree(qwen2, prompts, [MoIConfig(beta=4.0)] * 6, outputs, max_new_tokens=TOKENS)


def test_mixing_stops_at_the_token_named_by_until(ask: Any, moi_server: Any, qwen2: Path, agree: Any) -> None:
    texts = ask.prompts("until")
    always = moi_server.generate(texts, ask.greedy({}, max_new_tokens=TOKENS))
    gates = [first_seen_after(each["output_ids"], 8) for each in always]
    params = [ask.greedy({"until": gate, "per_token": True}, max_new_tokens=TOKENS) for gate in gates]
    outputs = moi_server.generate(texts, params)
    marks, configs = [(gate, -1) for gate in gates], [MoIConfig()] * len(texts)
    agree(qwen2, texts, configs, outputs, marks=marks, max_new_tokens=TOKENS)
    stopped = 0
    for text, gate, output in zip(texts, gates, outputs, strict=True):
        stopped += gate in output["output_ids"][:-1]
        assert output["meta_info"]["moi"]["mixed_tokens"] == ask.mixed_tokens(text, output["output_ids"], gate)
    assert stopped > len(texts) / 2
    # The judge tells a row that goes on mixing from one that stops.
    assert agree.judge(qwen2, texts, configs, always, marks=marks, max_new_tokens=TOKENS).departures


def first_seen_after(tokens: list[int], count: int) -> int:
    """The first token that the first `count` of them are not; the last one where none is."""
    return next((token for token in tokens[count:] if token not in tokens[:count]), tokens[-1])


def test_the_mixture_is_of_the_logits_after_bias_penalties_and_grammar(ask: Any, moi_server: Any) -> None:
    forced = moi_server.generate([5, 6], ask.greedy({}, max_new_tokens=8, logit_bias={"9": 1e5}))
    assert forced["output_ids"] == [9] * 8
    assert forced["meta_info"]["moi"]["mean_entropy"] == pytest.approx(0, abs=1e-6)
    free = moi_server.generate([5, 6], ask.greedy({}))
    punished = moi_server.generate([5, 6], ask.greedy({}, frequency_penalty=1.9))
    assert free["meta_info"]["moi"]["mean_entropy"] != punished["meta_info"]["moi"]["mean_entropy"]
    chosen = moi_server.generate(
        [5, 6], ask.greedy({"per_token": True}, max_new_tokens=12, regex="[ab]{12}", ignore_eos=False)
    )
    assert re.fullmatch("[ab]+", chosen["text"])
    entropies = chosen["meta_info"]["moi"]["entropy"]  # of at most two ids, over K = 20
    assert 0 < max(entropies) <= 0.232


def test_several_samples_and_logprobs_of_a_mixed_request(ask: Any, moi_server: Any, qwen2: Path, agree: Any) -> None:
    texts = ask.prompts("samples", count=6)  # of one drawn text rounding may decide nearly all
    asked = ask.greedy({"beta": 4.0}, n=2, max_new_tokens=TOKENS)
    answers = [moi_server.generate(text, asked, return_logprob=True, top_logprobs_num=2) for text in texts]
    outputs = [output for answer in answers for output in answer]
    twice = [text for text in texts for _ in range(2)]
    agree(qwen2, twice, [MoIConfig(beta=4.0)] * len(twice), outputs, max_new_tokens=TOKENS)
    assert all(len(output["meta_info"]["output_top_logprobs"]) == TOKENS for output in outputs)


def test_metrics_count_mixed_replayed_and_refused(ask: Any, moi_server: Any) -> None:
    before = counters(moi_server)
    moi_server.generate([5, 6, 7], ask.greedy({}, max_new_tokens=10))
    moi_server.request("POST", "/generate", {"input_ids": [5], "sampling_params": ask.greedy({"beta": -1})})
    after = counters(moi_server)
    grown = {name: after[name] - before.get(name, 0.0) for name in after}
    assert grown["mixed_tokens"] == grown["observed_tokens"] == 10
    assert 0 < grown["entropy"] <= 10
    assert 0 < grown["intervention"] <= 5
    assert grown["refused_requests"] == 1
    assert "replayed_tokens" in after


def counters(server: Any) -> dict[str, float]:
    status, text = server.request("GET", "/metrics")
    assert status == 200
    found = re.findall(r"^moi_(\w+)_total\{[^}]*\} (\S+)$", text, re.MULTILINE)
    totals: dict[str, float] = {}
    for name, value in found:
        totals[name] = totals.get(name, 0.0) + float(value)
    return totals
