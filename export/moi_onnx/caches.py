"""Key/value caches as a graph sees them: tensors in, tensors out.

Dims: B rows, H key/value heads, T new positions, P past positions, M positions of a static cache, D head width.

    static  past and present [B,H,M,D], written at write_indices[B]; column = position; right-padded prompts
    concat  past [B,H,P,D], present [B,H,P+T,D]; left-padded prompts, attention_mask[B,P+T]
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

Pair = tuple[Tensor, Tensor]


class StaticCache:
    """Writes with TensorScatter, which runtimes do in place when past and present share a buffer."""

    def __init__(self, past: list[Pair], write_indices: Tensor) -> None:
        self.present = list(past)
        self._write_indices = write_indices

    def update(self, key: Tensor, value: Tensor, layer: int, *_: Any, **__: Any) -> Pair:
        """Keys and values [B,H,T,width] of a layer in their places; returns those of all positions."""
        past_key, past_value = self.present[layer]
        self.present[layer] = (self._scatter(past_key, key), self._scatter(past_value, value))
        return self.present[layer]

    def get_seq_length(self, layer: int = 0) -> int:
        """As transformers asks: positions are given, so none count."""
        return 0

    def _scatter(self, past: Tensor, update: Tensor) -> Tensor:
        return torch.onnx.ops.symbolic(
            "::TensorScatter",
            (past, update, self._write_indices),
            {"axis": -2, "mode": "linear"},
            dtype=past.dtype,
            shape=past.shape,
            version=24,
        )


class ConcatCache:
    """Appends the new positions."""

    def __init__(self, past: list[Pair]) -> None:
        self.present = list(past)

    def update(self, key: Tensor, value: Tensor, layer: int, *_: Any, **__: Any) -> Pair:
        """Keys and values [B,H,T,width] of a layer behind its past; returns both."""
        past_key, past_value = self.present[layer]
        self.present[layer] = (torch.cat([past_key, key], 2), torch.cat([past_value, value], 2))
        return self.present[layer]

    def get_seq_length(self, layer: int = 0) -> int:
        """As transformers asks: positions are given, so none count."""
        return 0


def visible(columns: Tensor, queries: Tensor, window: int | None) -> Tensor:
    """bool [B,1,T,N]: which cache columns [N] the query at each column [B,T] attends to."""
    keys = columns[None, None, None, :]
    own = queries[:, None, :, None]
    mask = keys <= own
    return mask if window is None else mask & (keys > own - window)


def present_columns(mask: Tensor, attention_mask: Tensor, columns: Tensor, queries: Tensor) -> Tensor:
    """`mask` without padding columns; a padding query sees itself, for a row of nothing would be NaN."""
    itself = columns[None, None, None, :] == queries[:, None, :, None]
    return mask & ((attention_mask[:, None, None, :] > 0) | itself)


def onnx_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor, scaling: float, **_: Any
) -> tuple[Tensor, None]:
    """transformers' attention interface as one ONNX Attention node with four inputs and one output."""
    out = torch.onnx.ops.symbolic(
        "::Attention",
        (query, key, value, attention_mask),
        {"scale": float(scaling)},
        dtype=query.dtype,
        shape=query.shape,
        version=23,
    )
    return out.transpose(1, 2).contiguous(), None
