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

from moi.architectures import looks_up
from moi.ops import embed

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

    def __call__(self, ids: Tensor, weights: Tensor) -> Tensor:
        """As `Mixer`. The weight is looked up each time: servers take new ones while they run."""
        return embed(ids, weights, self.module.weight, self.start, self.end, "auto")


def mixer_of(module: Any, lookup: Lookup) -> Mixer:
    """How `module`, whose look-up of ids [n] gives [n,D], embeds a mixture."""
    if type(module) is torch.nn.Embedding:
        return TableMixer(module, 0, len(module.weight))
    scale = getattr(module, "embed_scale", None)
    if isinstance(module, torch.nn.Embedding) and scale is not None and looks_up(module, scale):  # as Gemma 3
        table = TableMixer(module, 0, len(module.weight))
        return lambda ids, weights: table(ids, weights) * table.module.embed_scale

    def mix_looked_up(ids: Tensor, weights: Tensor) -> Tensor:
        """Rows as the module itself looks them up, whatever it does to them, are the table of the mixture."""
        rows = lookup(ids.reshape(-1))
        places = torch.arange(ids.numel(), dtype=torch.int32, device=ids.device).view(ids.shape)
        return embed(places, weights, rows, 0, len(rows), "auto")

    return mix_looked_up


def find_embedding(model: Any, vocab: int) -> Any:
    """The module of `model` that embeds `vocab` token ids; ValueError where that is not certain."""
    try:  # some models have one that takes ids and embeds them
        found = None if inspect.signature(model.get_input_embeddings).parameters else model.get_input_embeddings()
    except (AttributeError, NotImplementedError):
        found = None
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
