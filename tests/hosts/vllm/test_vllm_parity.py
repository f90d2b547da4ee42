"""MoI in vLLM decodes as the torch engine does, up to rounding. Models are drawn anew in each run."""

from __future__ import annotations

from typing import Any

from vllm_policies import SETTINGS, check_answers


def check(ask: Any, agree: Any, server: Any, **params: Any) -> None:
    texts = ask.prompts("parity", len(SETTINGS))
    check_answers(agree, server.model, texts, server.all(texts, SETTINGS, **params), **params)


def test_greedy_requests_agree_with_asynchronous_scheduling_and_chunked_prefill(
    ask: Any, agree: Any, moi_server: Any
) -> None:
    check(ask, agree, moi_server)


def test_sampled_requests_agree_by_the_filters_and_their_measures(ask: Any, agree: Any, moi_server: Any) -> None:
    """vLLM draws its own noise: each token must pass the filters, each mixture must be the reference's."""
    check(ask, agree, moi_server, temperature=0.8, top_p=0.9, top_k=12)
