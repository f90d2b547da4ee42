"""Mixing through a host's embedding module: from its table where that is plain, else through its own look-up.

Dims: B rows of a batch, S components of a mixture, D embedding width.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from moi.ops import resolve

# ids int32 and weights float32 [B,S] to inputs [B,D], as a model embeds
Mixer = Callable[[Tensor, Tensor], Tensor]
Lookup = Callable[[Tensor], Tensor]

_NAMES = ("embed_tokens", "word_embeddings", "wte", "tok_embeddings")


@dataclass(frozen=True)
class TableMixer:
    """Mixes rows of `module.weight` [rows,D], which holds the ids start..end-1 and is embedded as it is."""

    module: Any
    start: int
    end: int

    @property
    def table(self) -> Tensor:
        """[rows,D], as it is now."""
        weight: Tensor = self.module.weight  # looked up each time: servers take new weights while they run
        return weight

    def __call__(self, ids: Tensor, weights: Tensor) -> Tensor:
        """As `Mixer`."""
        return mix_rows(self.table, ids, weights, self.start, self.end)


def mixer_of(module: Any, lookup: Lookup) -> Mixer:
    """How `module`, whose look-up of ids [n] gives [n,D], embeds a mixture."""
    if type(module) is torch.nn.Embedding:
        return TableMixer(module, 0, len(module.weight))
    if _is_scaled_table(module):
        table = TableMixer(module, 0, len(module.weight))
        return lambda ids, weights: table(ids, weights) * module.embed_scale
    return lambda ids, weights: mix_looked_up(lookup, ids, weights)


def mix_rows(table: Tensor, ids: Tensor, weights: Tensor, start: int, end: int) -> Tensor:
    """As `moi.embed`, without its checks."""
    x = table.new_empty((len(ids), table.shape[1]))
    resolve("auto", table.device).embed(ids, weights, table, start, end, x)
    return x


def mix_looked_up(lookup: Lookup, ids: Tensor, weights: Tensor) -> Tensor:
    """Rows as the module itself looks them up, whatever it does to them, as the table of the mixture."""
    rows = lookup(ids.reshape(-1))
    places = torch.arange(ids.numel(), dtype=torch.int32, device=ids.device).view(ids.shape)
    return mix_rows(rows, places, weights, 0, len(rows))


def find_embedding(model: Any, vocab: int) -> Any:
    """The module of `model` that embeds `vocab` token ids; ValueError where that is not certain."""
    found = _named_by_itself(model)
    if isinstance(found, torch.nn.Module):
        return getattr(found, "base_layer", found)
    named = [
        (name, getattr(module, "base_layer", module))
        for name, module in model.named_modules()
        if name.rsplit(".", 1)[-1] in _NAMES
    ]
    fits = [(name, module) for name, module in named if getattr(module, "num_embeddings", 0) >= vocab]
    if len(fits) != 1:
        names = ", ".join(name for name, _ in fits) or "none"
        raise ValueError(
            f"the input embedding of {type(model).__name__} is ambiguous (no get_input_embeddings; candidates: {names})"
        )
    return fits[0][1]


def _is_scaled_table(module: Any) -> bool:
    """As Gemma 3: nn.Embedding.forward times `embed_scale`, checked on a few ids."""
    scale = getattr(module, "embed_scale", None)
    if not isinstance(module, torch.nn.Embedding) or scale is None:
        return False
    ids = torch.arange(min(4, module.weight.shape[0]), device=module.weight.device)
    return torch.equal(module(ids), module.weight[ids] * scale)


def _named_by_itself(model: Any) -> Any:
    """What `get_input_embeddings` gives; some models have one that takes ids and embeds them instead."""
    method = getattr(model, "get_input_embeddings", None)
    if method is None:
        return None
    try:
        inspect.signature(method).bind()
    except TypeError:  # it wants ids
        return None
    try:
        return method()
    except (AttributeError, NotImplementedError):
        return None
