"""Keys and values of a stand-in for a host: a row for each request, as a transformers cache sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

DUMMY = 2**64 - 1
LENGTH = 160  # tokens that a KV row holds


class KVCache:
    """KV rows by request id; the last row is the dummies'."""

    enable_block_reuse = False

    def __init__(self, config: Any, rows: int, device: torch.device) -> None:
        shape = (rows + 1, config.num_key_value_heads, LENGTH, config.head_dim)
        self.layers = [
            tuple(torch.zeros(shape, device=device) for _ in range(2)) for _ in range(config.num_hidden_layers)
        ]
        self.dummy = rows
        self._row_of: dict[int, int] = {}
        self._free = list(range(rows))

    def rows(self, requests: Sequence[int]) -> list[int]:
        """A request has its row from its first step on."""
        for request in requests:
            if request != DUMMY and request not in self._row_of:
                self._row_of[request] = self._free.pop()
        return [self._row_of.get(request, self.dummy) for request in requests]

    def release(self, request: int) -> None:
        self._free.append(self._row_of.pop(request))


class Layers:
    """As a transformers cache: writes what is new where it belongs, and gives back whole rows."""

    is_compileable = False

    def __init__(self, cache: KVCache, rows: Tensor, position: Tensor) -> None:
        self._layers, self._rows, self._at = cache.layers, rows, (rows[:, None], position)

    def update(self, key: Tensor, value: Tensor, layer: int, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        for kept, new in zip(self._layers[layer], (key, value), strict=True):
            kept.transpose(1, 2).index_put_(self._at, new.transpose(1, 2))
        k, v = self._layers[layer]
        return k[self._rows], v[self._rows]

    def get_seq_length(self, *args: Any, **kwargs: Any) -> int:
        return 0
