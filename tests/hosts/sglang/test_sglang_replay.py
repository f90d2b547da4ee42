"""A request that is retracted or paused is prefilled again with the mixtures it was fed: its output does not change."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from moi import MoIConfig

TOKENS = 48
LONG = 200
SETTINGS: list[dict[str, Any]] = [
    {"beta": 1.0, "per_token": True},
    {"beta": 2.0, "per_token": True},
    {"policy": "token"},
] * 4


def test_outputs_of_retracted_requests_equal_undisturbed_ones_and_leave_a_clean_cache(
    ask: Any, retracting_server: Any, agree: Any
) -> None:
    model = retracting_server.model
    configs, params = [ask.config(each) for each in SETTINGS], [ask.greedy(e, max_new_tokens=TOKENS) for e in SETTINGS]
    texts, outputs = retracted(ask, retracting_server, params)
    agree(model, texts, configs, outputs, max_new_tokens=TOKENS)
    for settings, output in zip(SETTINGS, outputs, strict=True):
        meta = output["meta_info"]
        if "beta" in settings:
            assert meta["moi"]["mixed_tokens"] == TOKENS - 1
            assert (meta["moi"]["replayed_tokens"] > 0) == (meta["num_retractions"] > 0)

    longer = [text + output["output_ids"] for text, output in zip(texts, outputs, strict=True)]
    for settings, text, whole in zip(SETTINGS, texts, longer, strict=True):
        output = retracting_server.generate(whole, ask.greedy({"policy": "token"}, max_new_tokens=8))
        agree(model, [whole], [MoIConfig(policy="token")], [output], max_new_tokens=8)
        if "beta" in settings:
            assert output["meta_info"]["cached_tokens"] <= len(text)

    # Now a plain request has cached the very ids that a retracted request will look up.
    again = retracting_server.generate(texts, params)
    agree(model, texts, configs, again, max_new_tokens=TOKENS)


def retracted(ask: Any, server: Any, params: list[Any]) -> tuple[list[list[int]], list[Any]]:
    """Texts and outputs: three mixed requests were retracted, one of them twice.

    SGLang retracts the youngest request, of those the one with the longest prompt: the first ones, and then one of them
    again and again. Among some texts that is a plain one.
    """
    for attempt in range(10):
        texts = sorted(ask.prompts(f"retracted {attempt}", count=len(params)), key=len, reverse=True)
        outputs = server.generate(texts, params)
        pairs = zip(SETTINGS, outputs, strict=True)
        times = [output["meta_info"]["num_retractions"] for settings, output in pairs if "beta" in settings]
        if max(times) >= 2 and sum(map(bool, times)) >= 3:
            return texts, outputs
    pytest.fail("among none of the texts were three mixed requests retracted, and one of them twice")


@pytest.mark.parametrize("mode", ["retract", "in_place"])
def test_pause_and_resume_do_not_change_the_output_and_leave_a_clean_cache(
    mode: str, ask: Any, moi_server: Any, qwen2: Path, agree: Any
) -> None:
    moi_server.flush()
    texts, configs = ask.prompts("paused", count=4), [MoIConfig()] * 4
    params = ask.greedy({"per_token": True}, max_new_tokens=LONG)

    first = paused(moi_server, texts, params, mode)
    agree(qwen2, texts, configs, first, max_new_tokens=LONG)
    replayed = [output["meta_info"]["moi"]["replayed_tokens"] for output in first]
    assert any(replayed) if mode == "retract" else not any(replayed)

    # The prefill after a pause went past the prompt; none of that may be found by its ids.
    for text, before in zip(texts, first, strict=True):
        whole = text + before["output_ids"]
        output = moi_server.generate(whole, ask.greedy({"policy": "token"}, max_new_tokens=8))
        assert output["meta_info"]["cached_tokens"] <= len(text)
        agree(qwen2, [whole], [MoIConfig(policy="token")], [output], max_new_tokens=8)

    # Now the cache holds plain KV of these very ids, which a mixed request that is paused must not take.
    again = paused(moi_server, texts, params, mode)
    agree(qwen2, texts, configs, again, max_new_tokens=LONG)


class Streaming(threading.Thread):
    """Reads the stream of a batch; `outputs` are the last chunks of each, `tokens` how many came."""

    def __init__(self, server: Any, texts: list[list[int]], params: dict[str, Any]) -> None:
        super().__init__()
        self._chunks = server.stream("/generate", {"input_ids": texts, "sampling_params": params})
        self._grown = threading.Condition()
        self.outputs: list[Any] = [{"output_ids": []} for _ in texts]

    @property
    def tokens(self) -> int:
        return sum(len(output["output_ids"]) for output in self.outputs)

    @property
    def complete(self) -> bool:
        return self.tokens == LONG * len(self.outputs)

    def run(self) -> None:
        for chunk in self._chunks:
            with self._grown:
                self.outputs[chunk["index"]] = chunk
                self._grown.notify_all()

    def wait_for(self, tokens: int) -> None:
        """Until so many have come, or all."""
        with self._grown:
            assert self._grown.wait_for(lambda: self.complete or self.tokens >= tokens, timeout=120), self.tokens


def paused(server: Any, texts: list[list[int]], params: dict[str, Any], mode: str) -> list[Any]:
    """Outputs of a batch that is paused three times while it runs; on a busy machine it may take more than one batch
    until none of the pauses comes after the end."""
    for _ in range(10):
        running = Streaming(server, texts, params)
        if _pauses(running, server, mode):
            return running.outputs
    pytest.fail("no batch lasted for three pauses")


def _pauses(running: Streaming, server: Any, mode: str) -> bool:
    """Whether the batch, which is now whole, lasted for three pauses."""
    running.start()
    lasted = True
    for _ in range(3):
        running.wait_for(running.tokens + 8 * len(running.outputs))
        lasted = lasted and not running.complete
        assert server.request("POST", "/pause_generation", {"mode": mode})[0] == 200
        assert server.request("GET", "/server_info")[0] == 200  # the scheduler answers once it has paused
        assert server.request("POST", "/continue_generation", {})[0] == 200
    running.join(120)
    assert running.complete, running.tokens
    return lasted
