"""Key/value caches of step graphs: the two layouts, and which positions of them a step reads and writes.

Dims: B rows, H key/value heads, P positions so far, T new positions, M positions of a static cache, D head width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from moi_onnx.manifest import Manifest

Tensors = Mapping[str, Tensor]
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class Cache(Protocol):
    """The keys and values of a batch of rows. `prefill` says whether a step takes the prompts or one token a row.

    grows  each step has tensors of its own; otherwise those of decode steps stay where they are
    """

    grows: bool

    def columns(self, length: int, longest: int) -> slice:
        """Where a prompt of `length` stands among prompts padded to `longest`."""
        ...

    def inputs(self, prefill: bool) -> Tensors:
        """Of the next step: the cache and where the step's tokens stand, by the graph's names."""
        ...

    def outputs(self) -> Tensors:
        """Where the next step writes the cache, by the graph's names."""
        ...

    def advance(self, prefill: bool) -> None:
        """A step ran."""
        ...

    def finish(self, row: int) -> None:
        """The row has its last token: further steps of the batch change nothing that is read."""
        ...

    def select(self, rows: Tensor) -> None:
        """Keep these rows, int64 indices."""
        ...


def make_cache(manifest: Manifest, lengths: Tensor) -> Cache:
    """An empty cache of the graph's layout on the device of `lengths`, the tokens of each prompt, int64 [B]."""
    return (StaticCache if manifest.variant == "static" else ConcatCache)(manifest, lengths)


class StaticCache:
    """[B,H,M,D] per layer, written in place: past and present are one buffer. Prompts are padded on the right."""

    grows = False

    def __init__(self, manifest: Manifest, lengths: Tensor) -> None:
        assert manifest.max_length is not None, "a static cache has a length"
        self._layers = _empty(manifest, lengths, manifest.max_length)
        self._lengths, self._zeros = lengths, torch.zeros_like(lengths)
        self._unfinished = torch.ones_like(lengths)  # 0 for finished rows

    def columns(self, length: int, longest: int) -> slice:
        """Where a prompt of `length` stands among columns for the longest: at the left."""
        return slice(0, length)

    def inputs(self, prefill: bool) -> Tensors:
        """Of the step, by name."""
        # Padding behind a prompt is overwritten by the tokens that follow before any of them attends to it.
        first, last = (self._zeros, self._lengths - 1) if prefill else (self._lengths, self._zeros)
        return {"write_indices": first, "last_index": last, **_named("past_key_values", self._layers)}

    def outputs(self) -> Tensors:
        """Of the step, by name: the memory of the past."""
        return _named("present", self._layers)

    def advance(self, prefill: bool) -> None:
        """After a step."""
        if not prefill:
            self._lengths += self._unfinished

    def finish(self, row: int) -> None:
        """The row stays where it is from now on."""
        # It stays at the position after its last token, which may be the buffer's last: going on would write past it.
        self._unfinished[row] = 0

    def select(self, rows: Tensor) -> None:
        """Keep these rows, int64 places."""
        self._layers = {name: value[rows] for name, value in self._layers.items()}
        self._lengths, self._unfinished = self._lengths[rows], self._unfinished[rows]
        self._zeros = self._zeros[rows]


class ConcatCache:
    """[B,H,P,D] per layer, which each step copies and extends. Prompts are padded on the left."""

    grows = True

    def __init__(self, manifest: Manifest, lengths: Tensor) -> None:
        longest = int(lengths.max())
        self._past, self._present = _empty(manifest, lengths, 0), dict[str, Tensor]()
        self._lengths = lengths
        columns = torch.arange(longest, device=lengths.device)
        self._mask = (columns >= longest - lengths[:, None]).long()  # [B,P+T], 1 where a token is

    def columns(self, length: int, longest: int) -> slice:
        """Where a prompt of `length` stands among columns for the longest: at the right."""
        return slice(longest - length, longest)

    def inputs(self, prefill: bool) -> Tensors:
        """Of the step, by name."""
        positions = (self._mask.cumsum(1) - 1).clamp_min(0) if prefill else self._lengths[:, None]
        place = {"attention_mask": self._mask, "position_ids": positions}
        return {**place, **_named("past_key_values", self._past)}

    def outputs(self) -> Tensors:
        """Of the step, by name: memory for one step more."""
        total = self._mask.shape[1]
        self._present = {
            name: value.new_empty(*value.shape[:2], total, value.shape[3]) for name, value in self._past.items()
        }
        return _named("present", self._present)

    def advance(self, prefill: bool) -> None:
        """After a step."""
        self._past = self._present
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(self._mask), 1)], 1)
        if not prefill:
            self._lengths = self._lengths + 1

    def finish(self, row: int) -> None:
        """Nothing to do: what a finished row appends is its own."""

    def select(self, rows: Tensor) -> None:
        """Keep these rows, int64 places."""
        self._past = {name: value[rows] for name, value in self._past.items()}
        self._lengths, self._mask = self._lengths[rows], self._mask[rows]


def _empty(manifest: Manifest, lengths: Tensor, positions: int) -> dict[str, Tensor]:
    shape = (len(lengths), manifest.heads, positions, manifest.width)
    names = [f"{layer}.{kind}" for layer in range(manifest.layers) for kind in ("key", "value")]
    return {name: torch.zeros(shape, dtype=DTYPES[manifest.dtype], device=lengths.device) for name in names}


def _named(prefix: str, layers: Tensors) -> Tensors:
    return {f"{prefix}.{name}": value for name, value in layers.items()}
