"""The embedding of a decode step: rows that have a mixture due get it, the others what SGLang gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from moi import ops  # noqa: F401  (registers torch.ops.moi)
from moi_sglang.note import Replay
from moi_sglang.runtime import Mixed, Runtime
from moi_sglang.tables import ids_of, position_of, weights_of

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
            return self._decoded(x, input_ids, batch, mixed)
        return x

    def _decoded(self, x: Tensor, input_ids: Tensor, batch: Any, mixed: Mixed) -> Tensor:
        rows = self._runtime.tables.mixtures.index_select(0, batch.req_pool_indices)
        ids = ids_of(rows)
        # A slot may have been given to another request since: the token and its position must both fit.
        due = (ids[:, 0] == input_ids) & (position_of(rows) == batch.positions)
        return torch.where(due[:, None], mixed(ids, weights_of(rows)), x)


def replayed(x: Tensor, replay: Replay, mixed: Mixed) -> Tensor:
    """x [T,D] of a prefill with the mixtures that the retracted tokens were fed as."""
    return x.index_copy(0, replay.at, mixed(ids_of(replay.rows), weights_of(replay.rows)))


def mixer(module: Any, original: Lookup) -> Mixed:
    """(ids, weights) [B,S] -> [B,D], as `module` embeds: its shard, its scale, its quantisation."""
    weight = getattr(module, "weight", None)
    plain = isinstance(weight, Tensor) and weight.is_floating_point() and weight.ndim == 2
    if plain and _is_whole_table(module):
        return lambda ids, weights: _mix_rows(module.weight, ids, weights, 0)
    if plain and _is_scaled_table(module):
        return lambda ids, weights: _mix_rows(module.weight, ids, weights, 0) * module.embed_scale
    shard = getattr(module, "shard_indices", None)
    if plain and shard is not None and shard.num_added_elements == 0 and _is_unquantised(module):
        start, end = shard.org_vocab_start_index, shard.org_vocab_end_index
        return lambda ids, weights: _mix_rows(module.weight, ids, weights, start, end)
    return lambda ids, weights: _mix_looked_up(original, ids, weights)


def _mix_rows(table: Tensor, ids: Tensor, weights: Tensor, start: int, end: int | None = None) -> Tensor:
    stop = start + table.shape[0] if end is None else end
    x: Tensor = torch.ops.moi.embed(ids, weights, table, start, stop, "auto")
    return x


def _mix_looked_up(original: Lookup, ids: Tensor, weights: Tensor) -> Tensor:
    """Rows as the module itself looks them up, whatever it does to them, as the table of the mixture."""
    rows = original(ids.reshape(-1))
    places = torch.arange(ids.numel(), dtype=torch.int32, device=ids.device).view(ids.shape)
    return _mix_rows(rows, places, weights, 0)


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


def find_embedding(model: Any, vocab: int) -> Any:
    """The module that embeds token ids; SystemExit where that is not certain."""
    try:
        found = model.get_input_embeddings()
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
        raise SystemExit(
            f"--enable-moi: the input embedding of {type(model).__name__} is ambiguous "
            f"(no get_input_embeddings; candidates: {names})"
        )
    return fits[0][1]
