"""MoI in SGLang decodes as the torch engine does, up to rounding; plain requests equal an SGLang without the plugin.

Models are drawn anew in each run; `moi_engines.parity` judges as far as their feedback leaves tokens decidable. Other
servers of these tests hold other models: Qwen 3 with a tied embedding (replay), Llama (thinking), DeciLM without
overlap, the trained one (engine).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moi import MoIConfig

SETTINGS: list[dict[str, Any] | None] = [
    {"beta": 1.0, "per_token": True},
    None,
    {"policy": "token"},
    {"beta": 2.0},
    {"beta": 0.25, "per_token": True},
    {"policy": "direct", "per_token": True},
    {"policy": "token", "per_token": True},
    {"beta": 8},
    {"policy": "gumbel", "tau": 0.3, "per_token": True},
    {"policy": "multiplex", "draws": 2, "per_token": True},
]


def check(ask: Any, agree: Any, server: Any, model: Path, sampling: dict[str, Any], **changes: Any) -> None:
    """A ragged batch of all SETTINGS; `sampling` as the torch engine says it, `changes` as SGLang does."""
    texts = ask.prompts("parity", len(SETTINGS))
    outputs = server.generate(texts, [ask.greedy(each, **changes) for each in SETTINGS])
    agree(model, texts, [ask.config(each) for each in SETTINGS], outputs, **sampling)
    for settings, output in zip(SETTINGS, outputs, strict=True):
        moi = output["meta_info"].get("moi")
        if settings == {"policy": "token"}:
            assert moi is None
            continue
        plain = settings is not None and settings.get("policy") == "token"
        assert moi["mixed_tokens"] == (0 if plain else len(output["output_ids"]) - 1), settings
        assert (moi["mean_intervention"] == 0) == plain
        if settings is not None and "per_token" in settings:
            assert moi["mean_entropy"] == pytest.approx(sum(moi["entropy"]) / len(moi["entropy"]), abs=1e-5)
        else:
            assert "entropy" not in moi


def test_greedy_agrees_with_overlap_on_and_chunked_prefill(ask: Any, agree: Any, moi_server: Any, qwen2: Path) -> None:
    check(ask, agree, moi_server, qwen2, {})


def test_a_fixed_choice_through_the_sampling_path_agrees(ask: Any, agree: Any, moi_server: Any, qwen2: Path) -> None:
    """Temperature and top_p rewrite the logits in place; the mixture reads them before."""
    fixed = {"temperature": 0.7, "top_p": 1e-6}
    check(ask, agree, moi_server, qwen2, fixed, **fixed)


def test_sampled_requests_agree_by_the_filters_and_their_measures(
    ask: Any, agree: Any, moi_server: Any, qwen2: Path
) -> None:
    """SGLang draws its own noise: each token must pass the filters, each mixture must be the reference's."""
    texts = ask.prompts("parity")
    settings = [{"beta": beta, "per_token": True} for beta in (0.0, 0.25, 0.25, 0.5, 1.0, 1.0, 2.0, 4.0)]
    for filters in ({"temperature": 1.0, "top_p": 0.8}, {"temperature": 0.7, "top_k": 8}):
        short = {**filters, "max_new_tokens": 16}
        outputs = moi_server.generate(texts, [ask.greedy(each, **short) for each in settings])
        agree(qwen2, texts, [ask.config(each) for each in settings], outputs, **short)


def test_two_tensor_parallel_ranks_with_a_scaled_embedding_and_the_paper_preset_agree(
    ask: Any, agree: Any, make_server: Any, random_model: Any
) -> None:
    model, paper = random_model("gemma3"), MoIConfig.preset("paper")
    settings: list[dict[str, Any]] = [
        *({"beta": beta, "per_token": True} for beta in (1.0, 2.0, 0.5, 4.0, 0.25, 0.0)),
        {"policy": "token", "per_token": True},
        {"policy": "gumbel", "tau": 0.3, "per_token": True},  # seeds are made of the requests' ids, on every rank
        {"policy": "multiplex", "draws": 2, "per_token": True},
    ]
    texts = ask.prompts("paper", len(settings))
    configs = [paper.replace({key: value for key, value in each.items() if key != "per_token"}) for each in settings]
    env = {"MOI_PRESET": "paper", "SGLANG_CPU_OMP_THREADS_BIND": "0|1"}
    with make_server(model, "--enable-moi", "--tp-size", "2", **env) as server:
        outputs = server.generate(texts, [ask.greedy(each) for each in settings])
        agree(model, texts, configs, outputs)
        sampled = {"temperature": 0.6, "top_p": 0.9, "max_new_tokens": 16}  # the paper's prior reads the temperature
        outputs = server.generate(texts, [ask.greedy(each, **sampled) for each in settings])
    agree(model, texts, configs, outputs, **sampled)


def test_plain_requests_beside_mixed_ones_are_bit_identical_to_a_server_without_the_plugin(
    ask: Any, moi_server: Any, plain_server: Any
) -> None:
    texts = ask.unlike_prompts("bits")
    plain = {"return_logprob": True, "top_logprobs_num": 5, "logprob_start_len": 0}
    mixed = [ask.greedy({"policy": "token"} if i % 2 else {"beta": 1.0}) for i in range(len(texts))]
    beside = moi_server.generate_at_once(texts, mixed, **plain)
    alone = plain_server.generate_at_once(texts, [ask.greedy(None)] * len(texts), **plain)
    for index, (ours, theirs) in enumerate(zip(beside, alone, strict=True)):
        if index % 2:
            assert ours["output_ids"] == theirs["output_ids"]
            for key in ("output_token_logprobs", "output_top_logprobs", "input_token_logprobs"):
                assert ours["meta_info"][key] == theirs["meta_info"][key], key
        else:
            assert ours["meta_info"]["output_token_logprobs"] != theirs["meta_info"]["output_token_logprobs"]
