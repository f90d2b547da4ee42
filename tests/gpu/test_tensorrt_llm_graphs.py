"""The TensorRT-LLM integration under real CUDA graphs, around a stand-in host. Needs a GPU.

pytest tests/gpu/test_tensorrt_llm_graphs.py
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from moi import MoIConfig
from moi_engines.parity import Cases, Output, judge
from moi_engines.parity_reference import Reference
from moi_tensorrt_llm.server_settings import ServerSettings
from tensorrt_llm_host import requests_of, start_executor

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="captures CUDA graphs: needs a GPU"),
]


def captured(forward: Callable[[Tensor, Tensor], Tensor], ids: Tensor, positions: Tensor) -> Callable[[], Tensor]:
    """After two runs on a side stream, as CUDA wants it."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):
            forward(ids, positions)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        logits = forward(ids, positions)

    def replay() -> Tensor:
        graph.replay()
        return logits

    return replay


@pytest.mark.parametrize("replay_tokens", [0, 96], ids=["never preempted", "preempted"])
@pytest.mark.parametrize(("architecture", "prior"), [("qwen2", "raw"), ("qwen3", "sampling"), ("llama", "raw")])
def test_whatever_is_served_equals_the_reference(
    architecture: str,
    prior: Any,
    replay_tokens: int,
    random_model: Callable[..., Path],
    make_cases: Callable[..., Cases],
    base_seed: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = f"{architecture} {prior} {replay_tokens} captured"
    cases = make_cases(name=name, count=2, steps=32, prior=prior)
    settings = ServerSettings(MoIConfig("token", prior=prior), replay_tokens)
    rng = random.Random(f"{base_seed}/{name}")
    with torch.no_grad():
        folder, device = random_model(architecture), torch.device("cuda")
        host = start_executor(folder, settings, device, captured, (1, 2, 4, 8), rng)
        monkeypatch.setattr("moi_tensorrt_llm.processor.worker_state", lambda: host.state)
        host.serve(served := requests_of(cases), preempt=0.1 if replay_tokens else 0.0)
    found = judge(Reference(folder), cases, [Output(request.generated, "length") for request in served])
    assert found.agrees, str(found)
    assert host.graph_steps > 10
