"""The whole integration in TensorRT-LLM's order of calls: steps traced once a batch size and replayed, judged as any
backend is. The host is a stand-in around real models (`tensorrt_llm_host`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from moi import MoIConfig
from moi_engines import SamplingParams
from moi_engines.parity import Cases, Output, judge
from moi_engines.parity_reference import Reference
from moi_tensorrt_llm import logits_processors
from moi_tensorrt_llm.model import mixed
from moi_tensorrt_llm.server_settings import ServerSettings
from moi_tensorrt_llm.state import State
from tensorrt_llm_host import Executor, Request, requests_of, start_executor

pytestmark = pytest.mark.slow

SIZES = (1, 2, 4, 8)


def traced(forward: Callable[[Tensor, Tensor], Tensor], ids: Tensor, positions: Tensor) -> Callable[[], Tensor]:
    """As a CUDA graph: Python runs twice before and once while it is captured, which fails at a read by the host."""
    for _ in range(2):
        forward(ids, positions)
    graph = make_fx(forward, tracing_mode="real")(ids, positions)
    return lambda: graph(ids, positions)


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture
def executor(
    random_model: Callable[..., Path], base_seed: int, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Executor]:
    """executor("qwen3", settings) -> one that serves a tiny model, of a worker process of its own."""

    def start(architecture: str, settings: ServerSettings, name: str = "", model: Any = mixed) -> Executor:
        rng = random.Random(f"{base_seed}/{architecture}/{name}")
        host = start_executor(random_model(architecture), settings, torch.device("cpu"), traced, SIZES, rng, model)
        monkeypatch.setattr("moi_tensorrt_llm.processor.worker_state", lambda: host.state)
        return host

    return start


def judged(host: Executor, cases: Cases, served: Sequence[Request], model: Path) -> None:
    found = judge(Reference(model), cases, [Output(request.generated, "length") for request in served])
    assert found.agrees, str(found)
    assert host.graph_steps > 3  # of 20,000 drawn orders with preemptions the fewest were 6
    assert host.eager_steps > 5


@pytest.mark.parametrize("replay_tokens", [0, 96], ids=["never preempted", "preempted"])
@pytest.mark.parametrize(("architecture", "prior"), [("qwen2", "raw"), ("qwen3", "sampling"), ("llama", "raw")])
def test_whatever_is_served_equals_the_reference(
    architecture: str,
    prior: Any,
    replay_tokens: int,
    executor: Callable[..., Executor],
    random_model: Callable[..., Path],
    make_cases: Callable[..., Cases],
) -> None:
    """Every policy, at once: requests that join, finish and change places, in graphs that are padded."""
    name = f"{architecture} {prior} {replay_tokens}"
    cases = make_cases(name=name, steps=32, prior=prior)
    host = executor(architecture, ServerSettings(MoIConfig("token", prior=prior), replay_tokens), name)
    served = requests_of(cases)
    host.serve(served, preempt=0.1 if replay_tokens else 0.0)
    judged(host, cases, served, random_model(architecture))
    assert all(not request.processors for request in served), "each left its list"


def test_a_default_mixes_requests_that_say_nothing(
    executor: Callable[..., Executor], random_model: Callable[..., Path], make_cases: Callable[..., Cases]
) -> None:
    default = MoIConfig(beta=0.5)
    cases = make_cases(name="default", steps=24)
    moi = [default if i % 2 else config for i, config in enumerate(cases.moi)]
    cases = replace(cases, moi=moi)
    host = executor("qwen3", ServerSettings(default), "default")
    served = requests_of(cases, default)
    host.serve(served, chunk=3)  # many prompts end with a chunk of one token
    judged(host, cases, served, random_model("qwen3"))
    assert any(request.processor_calls for request in served)
    assert not all(request.processor_calls for request in served)


def _greedy(count: int, tokens: int, moi: MoIConfig | None = MoIConfig(), first: int = 1000) -> list[Request]:
    sampling = SamplingParams(temperature=0, max_new_tokens=tokens, ignore_eos=True)
    return [
        Request(first + i, [5 + i, 9, 7], sampling, [] if moi is None else logits_processors(moi), [0.0] * tokens)
        for i in range(count)
    ]


def test_a_steady_batch_costs_one_call_of_a_processor_and_one_copy(executor: Callable[..., Executor]) -> None:
    host = executor("llama", ServerSettings(), "steady")
    served = _greedy(3, 40)
    host.rng.random = lambda: 0.4  # all join at once, and none changes its place
    before = host.state.copies
    host.serve(served)
    assert host.eager_steps == 1
    assert host.state.copies - before == 2, "for the prompts, and for all 39 steps that follow"
    assert [request.processor_calls for request in served] == [1, 1, 1]


def test_a_step_that_the_host_reads_cannot_be_captured(executor: Callable[..., Executor]) -> None:
    def reads(host: type, state: State) -> type:
        class Reads(mixed(host, state)):
            def forward(self, attn_metadata: Any, input_ids: Any = None, position_ids: Any = None, **kw: Any) -> Any:
                logits = super().forward(attn_metadata, input_ids, position_ids, **kw)
                if bool((state.device.rows[0] > 0).any()):  # "does any row mix?"
                    return logits
                return logits + 0

        return Reads

    with pytest.raises(RuntimeError, match="get value out of a tracing tensor"):
        executor("llama", ServerSettings(), "planted", reads)


def test_a_preemption_that_loses_mixtures_is_an_error(executor: Callable[..., Executor]) -> None:
    host = executor("llama", ServerSettings(), "lost")
    with pytest.raises(RuntimeError, match=r"request 100. was preempted after .* set scheduler_config.*GUARANTEED_NO"):
        host.serve(_greedy(3, 40), preempt=0.3)
    short = executor("llama", ServerSettings(replay_tokens=8), "short")
    with pytest.raises(RuntimeError, match="tokens and 8 mixtures are kept"):
        short.serve(_greedy(3, 60), preempt=0.3)


def test_plain_requests_are_preempted_and_served(executor: Callable[..., Executor]) -> None:
    host, again = executor("llama", ServerSettings(), "plain"), executor("llama", ServerSettings(), "plain again")
    served, whole = _greedy(3, 30, None), _greedy(3, 30, None)
    host.serve(served, preempt=0.3)
    again.serve(whole)
    assert [request.generated for request in served] == [request.generated for request in whole]
