"""How the host time of a plugin's hooks is taken: after a step of a model, and in a loop of their own.

In a loop, hooks find the caches full of themselves and look half as dear as they are behind a model on the same cores.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import torch

from moi_bench.timer import Timing, summarise

TARGET_US = 150
ROUNDS, REPEATS = 5, 100


class Model:
    """A step of two small layers and a sampler, to run between the hooks."""

    def __init__(self, device: torch.device, batch: int, vocab: int, width: int) -> None:
        layer = torch.nn.TransformerEncoderLayer(width, 4, 2 * width, batch_first=True, device=device)
        self._layers = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval().requires_grad_(False)
        self._head = torch.nn.Linear(width, vocab, device=device).requires_grad_(False)
        self._x = torch.randn(batch, 64, width, device=device)

    def step(self) -> None:
        """One forward pass between the plugin's calls: it empties the caches as a model does."""
        logits = self._head(self._layers(self._x)[:, -1])
        torch.multinomial((logits / 0.6).softmax(-1), 1)


class HostTiming(NamedTuple):
    """Microseconds of a call after a model's step, as in `Timing`; loop_us: the median in a loop of its own."""

    median_us: float
    p10_us: float
    p90_us: float
    loop_us: float


def timed(
    call: Callable[[], object], model: Callable[[], None], prepare: Callable[[], None] = lambda: None
) -> HostTiming:
    """Of the quietest round: what else the machine does can only add to the time. `prepare` precedes each call."""

    def before() -> None:
        prepare()
        model()

    call()
    behind, alone = [], []
    for _ in range(ROUNDS):
        behind.append(_round(call, before))
        alone.append(_round(call, prepare))
    return HostTiming(*min(behind), min(alone).median_us)


def total(timings: dict[str, HostTiming], without: HostTiming) -> dict[str, float]:
    """Of all pieces, less what the host does without the plugin."""
    fields = ("median_us", "loop_us")
    return {name: sum(getattr(each, name) for each in timings.values()) - getattr(without, name) for name in fields}


def _round(call: Callable[[], object], before: Callable[[], object]) -> Timing:
    samples = []
    for _ in range(REPEATS):
        before()
        start = time.perf_counter()
        call()
        samples.append((time.perf_counter() - start) * 1e6)
    return summarise(samples)
