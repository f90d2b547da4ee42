"""The embedding of a step: rows that have a mixture due get it, the others what vLLM gives them.

Dims: B requests of a batch, T tokens of it, D embedding width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from moi_serving.embedding import Lookup, Mixer, TableMixer, find_embedding, mixer_of
from moi_vllm.compatibility import refuse
from moi_vllm.host import model as host

Change = Callable[[Tensor], Tensor]  # of a rank's part of x [T,D], before the parts are added up


class Embedding:
    """Finds the model's input embedding and mixes in that instance alone, in this rank's part of the vocabulary."""

    def __init__(self, model: Any, vocab: int) -> None:
        if host.reads_ids(model):
            refuse(f"--model: {type(model).__name__} reads token ids beside their embeddings; a mixture has no id")
        try:
            module = find_embedding(model, vocab)
        except ValueError as error:
            refuse(f"--model: {error}")
        self._model = model
        self._lookup: Lookup = module.forward
        self._reduce = host.take_over_reduction(module)
        shard = host.plain_shard(module)
        self.mixer: Mixer = TableMixer(module, *shard) if shard else mixer_of(module, self._lookup)
        self._change: Change | None = None
        module.forward = self._forward

    def embed(self, ids: Tensor, change: Change | None) -> Tensor:
        """x [T,D] as the model embeds ids [T], with `change`. RuntimeError where the model looked nothing up."""
        x: Tensor = self.during(lambda: host.embed(self._model, ids), change)
        return x

    def during(self, call: Callable[[], Any], change: Change | None) -> Any:
        """What `call` returns, in which the model looks its batch up once."""
        self._change = change
        try:
            result = call()
            if self._change is not None:
                raise RuntimeError("MoI: the model embedded its batch without its embedding; nothing was mixed")
            return result
        finally:
            self._change = None

    def _forward(self, ids: Tensor) -> Tensor:
        x = self._lookup(ids)
        if self._change is not None:
            change, self._change = self._change, None
            x = change(x)
        return x if self._reduce is None else self._reduce(x)
