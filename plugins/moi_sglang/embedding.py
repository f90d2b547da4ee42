"""The embedding of a decode step: rows that have a mixture due get it, the others what SGLang gives them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from moi_serving.row_layout import ids_of, weights_of
from moi_serving.slots.base import Mixed, TableMixed, mix_rows
from moi_sglang.batch_metadata import Replay
from moi_sglang.runtime import Runtime

_NAMES = ("embed_tokens", "word_embeddings", "wte", "tok_embeddings")

Lookup = Callable[[Tensor], Tensor]


class Embedding:
    """Finds the model's input embedding and mixes in that instance alone."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def model_loaded(self, result: Any, runner: Any, *args: Any, **kwargs: Any) -> None:
        """AFTER ModelRunner.load_model."""
        if runner.is_draft_worker:
            return
        module, name = find_embedding(runner.model, runner.model_config.vocab_size), "forward"
        if hasattr(module, "_embed_local_shard"):  # before the all-reduce of tensor parallelism
            name = "_embed_local_shard"
        original: Lookup = getattr(module, name)
        mixed = mixer(module, original)
        setattr(module, name, lambda input_ids: self._embed(original, mixed, input_ids))
        self._runtime.runner, self._runtime.mixed = runner, mixed

    def _embed(self, original: Lookup, mixed: Mixed, input_ids: Tensor) -> Tensor:
        x = original(input_ids)
        batch, note = self._runtime.batch, self._runtime.note
        if batch is None or not self._runtime.ready:
            return x
        if note.replay is not None:
            return replayed(x, note.replay, mixed)
        if note.watched and batch.forward_mode.is_decode():
            return self._runtime.slots.arrive(x, batch.req_pool_indices, input_ids, batch.positions)
        return x


def replayed(x: Tensor, replay: Replay, mixed: Mixed) -> Tensor:
    """x [T,D] of a prefill with the mixtures that the retracted tokens were fed as."""
    return x.index_copy(0, replay.at, mixed(ids_of(replay.rows), weights_of(replay.rows)))


def mixer(module: Any, original: Lookup) -> Mixed:
    """(ids, weights) [B,S] -> [B,D], as `module` embeds: its shard, its scale, its quantisation."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or not weight.is_floating_point() or weight.ndim != 2:
        return lambda ids, weights: _mix_looked_up(original, ids, weights)
    whole, shard = TableMixed(module, 0, len(weight)), getattr(module, "shard_indices", None)
    if _is_whole_table(module):
        return whole
    if _is_scaled_table(module):
        return lambda ids, weights: whole(ids, weights) * module.embed_scale
    if shard is not None and shard.num_added_elements == 0 and _is_unquantised(module):
        return TableMixed(module, shard.org_vocab_start_index, shard.org_vocab_end_index)
    return lambda ids, weights: _mix_looked_up(original, ids, weights)


def _mix_looked_up(original: Lookup, ids: Tensor, weights: Tensor) -> Tensor:
    """Rows as the module itself looks them up, whatever it does to them, as the table of the mixture."""
    rows = original(ids.reshape(-1))
    places = torch.arange(ids.numel(), dtype=torch.int32, device=ids.device).view(ids.shape)
    return mix_rows(rows, places, weights, 0, len(rows))


def _is_whole_table(module: Any) -> bool:
    return type(module) is torch.nn.Embedding


def _is_scaled_table(module: Any) -> bool:
    """As Gemma 3: nn.Embedding.forward times `embed_scale`, checked on a few ids."""
    scale = getattr(module, "embed_scale", None)
    if not isinstance(module, torch.nn.Embedding) or scale is None:
        return False
    ids = torch.arange(min(4, module.weight.shape[0]), device=module.weight.device)
    return torch.equal(module(ids), module.weight[ids] * scale)


def _is_unquantised(module: Any) -> bool:
    return type(module.quant_method).__name__ == "UnquantizedEmbeddingMethod" and module.output_dtype is None


def _named_by_itself(model: Any) -> Any:
    """What `get_input_embeddings` gives; some models of SGLang have one that takes ids and embeds them instead."""
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


def find_embedding(model: Any, vocab: int) -> Any:
    """The module that embeds token ids; SystemExit where that is not certain."""
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
        raise SystemExit(
            f"--enable-moi: the input embedding of {type(model).__name__} is ambiguous "
            f"(no get_input_embeddings; candidates: {names})"
        )
    return fits[0][1]
