"""Two tensor-parallel ranks, each with its part of the vocabulary, short of memory; prompts that come as embeddings."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from documented import chat, server_flags
from installed_package import install_package

SETTINGS: list[Any] = [
    {"beta": 1.0, "per_token": 1},
    {"beta": 2.0, "per_token": 1},
    None,
    {"policy": "soft", "per_token": 1},
]


# Once it is switched on, a rank of which vLLM reads no outputs keeps no rows of them.
UNREAD = """
import os


def load():
    from moi_vllm.runtime import Runtime
    from vllm.distributed import get_tensor_model_parallel_rank

    drain = Runtime.drain

    def only_where_outputs_are_read(runtime, keep):
        if get_tensor_model_parallel_rank() == 0 or not os.path.exists(os.environ["UNREAD"]):
            drain(runtime, keep)

    Runtime.drain = only_where_outputs_are_read
"""


@pytest.fixture(scope="module")
def switch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this file is, `UNREAD` is on."""
    return tmp_path_factory.mktemp("unread") / "on"


@pytest.fixture(scope="module")
def server(make_server: Any, vllm_model: Any, vllm_env: Any, switch: Path) -> Iterator[Any]:
    package = install_package(switch.parent, "unread", "unread_rows:load", UNREAD, "vllm.general_plugins")
    env = {
        "MOI_TEST_ASYNC": "1",
        "VLLM_SERVER_DEV_MODE": "1",
        "VLLM_PLUGINS": "moi,unread",
        "PYTHONPATH": os.pathsep.join([vllm_env()["PYTHONPATH"], str(package)]),
        "UNREAD": str(switch),
    }
    flags = (
        "--tensor-parallel-size",
        "2",
        "--num-gpu-blocks-override",
        "18",
        "--enable-prompt-embeds",
        "--max-model-len",
        "160",
    )
    with make_server(vllm_model("gemma3"), *flags, *server_flags("vllm.md", "vllm serve"), **env) as started:
        yield started


def test_two_ranks_agree_while_requests_are_preempted(ask: Any, agree: Any, server: Any) -> None:
    rng, settings = ask.random("ranks"), SETTINGS * 2  # of four drawn texts rounding may decide most
    texts = [[rng.randrange(2, 258) for _ in range(40)] for _ in settings]
    asked = [{"policy": "token"} if each is None else each for each in settings]
    before = server.counter("num_preemptions")
    answers = server.all(texts, asked, max_tokens=64)  # there is no room for all
    assert server.counter("num_preemptions") > before
    agree(server.model, texts, settings, answers)
    replayed = [
        each["kv_transfer_params"]["moi"][0]["replayed_tokens"] for each in answers if each["kv_transfer_params"]
    ]
    assert sum(replayed) > 0


def test_a_rank_that_reads_no_outputs_must_keep_its_rows(ask: Any, agree: Any, server: Any, switch: Path) -> None:
    """vLLM asks one rank for outputs. Without rows of its own the other one cannot replay its part of a mixture."""
    rng, settings = ask.random("unread"), [{"beta": 2.0, "per_token": 1}] * 6

    def departures() -> list[Any]:
        texts = [[rng.randrange(2, 258) for _ in range(40)] for _ in settings]
        answers = server.all(texts, settings, max_tokens=64)
        found: list[Any] = agree.judge(server.model, texts, settings, answers).departures
        return found

    switch.touch()
    try:
        # Of one call the mixtures may be too weak to see, or requests come one by one and none is preempted.
        assert any(departures() for _ in range(8))
    finally:
        switch.unlink()


def test_a_request_that_says_nothing_mixes_as_the_server_says(ask: Any, agree: Any, server: Any) -> None:
    texts = ask.prompts("default")
    agree(server.model, texts, [{"beta": 1.0}] * len(texts), server.all(texts, [None] * len(texts), max_tokens=16))


def test_the_call_of_the_page_is_mixed_by_a_server_of_the_page(server: Any) -> None:
    pytest.importorskip("openai")
    answer = chat("vllm.md", f"http://127.0.0.1:{server.port}/v1", max_tokens=8)
    (report,) = answer.model_extra["kv_transfer_params"]["moi"]
    assert report["mixed_tokens"] > 0


def test_a_prompt_of_embeddings_is_mixed_as_that_of_its_tokens(ask: Any, agree: Any, server: Any) -> None:
    prompts, settings = ask.prompts("embeddings", 4), {"beta": 4.0, "per_token": 1}
    weights = load_file(server.model / "model.safetensors")
    (table,) = (weight for name, weight in weights.items() if "embed_tokens" in name)
    scale = torch.tensor(table.shape[1] ** 0.5, dtype=table.dtype)  # as Gemma embeds
    answers = []
    for prompt in prompts:
        with io.BytesIO() as data:
            torch.save(table[prompt] * scale, data)
            encoded = base64.b64encode(data.getvalue()).decode()
        answers.append(server.complete(None, settings, prompt_embeds=encoded, max_tokens=12))
    agree(server.model, prompts, [settings] * 4, answers)
