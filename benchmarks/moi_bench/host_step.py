"""How the host time of a plugin's hooks is taken.

A step of a model comes before each call: in a loop of their own, hooks find the caches full of themselves and look
twice as cheap as they are.
"""

from __future__ import annotations

import time
from collections.abc import Callable

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


def timed(call: Callable[[], object], before: Callable[[], None]) -> Timing:
    """Of the quietest round: what else the machine does can only add to the time."""
    call()
    rounds = []
    for _ in range(ROUNDS):
        samples = []
        for _ in range(REPEATS):
            before()
            start = time.perf_counter()
            call()
            samples.append((time.perf_counter() - start) * 1e6)
        rounds.append(summarise(samples))
    return min(rounds)
