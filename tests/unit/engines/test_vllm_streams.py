"""Several streams of the vllm engine open at once, over a stand-in that steps as vLLM's LLMEngine does.

One step is of all requests, outputs repeat what came before them, and their lists go on growing.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from moi import MoIConfig
from moi_engines import SamplingParams
from moi_engines.protocol import TokenEvent
from moi_engines.vllm_engine import VLLMEngine

TOKENS = 6
SAMPLING = SamplingParams(temperature=0, max_new_tokens=TOKENS + 9, ignore_eos=True)
PLAIN = MoIConfig("token")


class StepEngine:
    """The tokens that follow a prompt count on from its first; the last of them completes a stop string."""

    def __init__(self) -> None:
        self.requests: dict[str, Any] = {}
        self.steps = 0
        self.aborted: list[str] = []
        self.started: list[Any] = []
        self.engine_core = SimpleNamespace(shutdown=self.requests.clear)

    def add_request(self, identity: str, prompt: dict[str, list[int]], params: Any) -> None:
        first, told = prompt["prompt_token_ids"][0], "moi_per_token" in params.extra_args
        report = {"entropy": [], "intervention": []} if told else None
        self.requests[identity] = SimpleNamespace(first=first, ids=[], report=report)

    def abort_request(self, identities: list[str]) -> None:
        self.aborted += identities
        for each in identities:
            del self.requests[each]

    def step(self) -> list[Any]:
        assert self.requests, "nothing runs: vLLM would wait for ever"
        self.steps += 1
        return [self._output(identity) for identity in list(self.requests)]

    def _output(self, identity: str) -> Any:
        request = self.requests[identity]
        request.ids.append(request.first + len(request.ids))
        if request.report is not None:
            request.report["entropy"].append(request.ids[-1] / 1000)
            request.report["intervention"].append(0.5)
        done = len(request.ids) == TOKENS
        if done:
            del self.requests[identity]
        reasons = {"finish_reason": "stop" if done else None, "stop_reason": "x" if done else None}
        choice = SimpleNamespace(token_ids=request.ids, **reasons)
        told = None if request.report is None else {"moi": [request.report]}
        return SimpleNamespace(request_id=identity, outputs=[choice], finished=done, kv_transfer_params=told)


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> StepEngine:
    made, module = StepEngine(), ModuleType("vllm")
    given = {"EngineArgs": SimpleNamespace, "SamplingParams": SimpleNamespace}
    vars(module).update(
        given, LLMEngine=SimpleNamespace(from_engine_args=lambda args: made.started.append(args) or made)
    )
    monkeypatch.setitem(sys.modules, "vllm", module)
    return made


@pytest.fixture
def engine(tiny_model: Callable[[str], Path], vllm: StepEngine) -> Any:
    made = VLLMEngine(tiny_model("qwen3"), additional_config={"other": 1})
    yield made
    made.close()


def ids(events: Sequence[TokenEvent], row: int = 0) -> list[int]:
    return [event.token_id for event in events if event.row == row]


def test_streams_of_both_kinds_advance_together(engine: Any, vllm: StepEngine) -> None:
    pairs = list(zip(engine.stream([[10]], SAMPLING), engine.plain().stream([[50]], SAMPLING, PLAIN), strict=True))
    mixed, plain = ([pair[side] for pair in pairs] for side in (0, 1))
    assert ids(mixed) == list(range(10, 16))
    assert ids(plain) == list(range(50, 56))
    assert [event.entropy for event in mixed] == [each / 1000 for each in range(10, 16)]
    assert [event.entropy for event in plain] == [0.0] * TOKENS
    assert mixed[-1].finish_reason == plain[-1].finish_reason == "stop"
    assert vllm.steps == TOKENS + 1, "one step for both, but for the first"


@pytest.mark.parametrize("taken", range(TOKENS))
def test_one_that_waits_misses_nothing(engine: Any, vllm: StepEngine, taken: int) -> None:
    waiting = engine.stream([[10], [30]], SAMPLING)
    events = list(itertools.islice(waiting, taken))
    assert ids(list(engine.plain().stream([[50]], SAMPLING, PLAIN))) == list(range(50, 56))
    events += waiting
    for row, first in enumerate((10, 30)):
        assert ids(events, row) == list(range(first, first + TOKENS))
        assert [event.finish_reason for event in events if event.row == row] == [None] * (TOKENS - 1) + ["stop"]
    assert not vllm.aborted


def test_one_that_is_closed_ends_its_own_requests_alone(engine: Any, vllm: StepEngine) -> None:
    closed, other = engine.stream([[10], [30]], SAMPLING), engine.stream([[50]], SAMPLING)
    events = [next(closed), next(other)][1:]
    closed.close()
    assert len(vllm.aborted) == 2
    assert ids([*events, *other]) == list(range(50, 56))
    assert len(vllm.aborted) == 2


def test_an_engine_that_is_closed_ends_its_streams(engine: Any, vllm: StepEngine) -> None:
    stream, other = engine.stream([[10]], SAMPLING), engine.stream([[50]], SAMPLING)
    assert (next(stream).token_id, next(other).token_id) == (10, 50)
    engine.close()
    for each in (stream, other):
        with pytest.raises(RuntimeError, match="vLLM was closed before these requests ended"):
            list(each)
    assert ids(list(engine.stream([[70]], SAMPLING))) == list(range(70, 76)), "it starts again"
    first, again = (args.additional_config for args in vllm.started)
    assert first == again
    assert [*first] == ["other", "moi"]
