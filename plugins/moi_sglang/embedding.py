"""The embedding of a decode step: rows that have a mixture due get it, the others what SGLang gives them."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from moi_serving.embedding import Lookup, TableMixer, find_embedding, mixer_of
from moi_serving.row_layout import ids_of, weights_of
from moi_sglang.compatibility import refuse
from moi_sglang.host import batches, model
from moi_sglang.runtime import Runtime


class Embedding:
    """Finds the model's input embedding and mixes in that instance alone."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def pool_allocated(self, result: Any, runner: Any, *args: Any, **kwargs: Any) -> None:
        """AFTER the memory pool is allocated, before any graph is captured: hook the instance that embeds.

        SystemExit where that is not certain, and for an adapter's LoRA on it, which no flag may have told of.
        """
        if model.is_draft(runner):
            return
        if "embed_tokens" in model.adapted_modules(runner):
            refuse(
                "--lora-paths does not go with --enable-moi: an adapter looks ids up again, by LoRA on the embedding"
            )
        try:
            module = find_embedding(model.model(runner), model.vocab_size(runner))
        except ValueError as error:
            refuse(f"--model-path does not go with --enable-moi: {error}")
        name, shard = model.lookup_method(module), model.plain_shard(module)
        original: Lookup = getattr(module, name)
        self._runtime.start(runner, TableMixer(module, *shard) if shard else mixer_of(module, original))
        setattr(module, name, lambda input_ids: self._embed(original, input_ids))

    def _embed(self, original: Lookup, input_ids: Tensor) -> Tensor:
        x, slots = original(input_ids), self._runtime.slots
        batch, (active, replay) = self._runtime.batch, self._runtime.metadata
        if batch is None:
            return x
        if replay is not None:
            return x.index_copy(0, replay.at, slots.mixer(ids_of(replay.rows), weights_of(replay.rows)))
        if active and batches.is_decode(batch):
            return slots.apply(x, batches.slots(batch), input_ids, batches.positions(batch))
        return x
