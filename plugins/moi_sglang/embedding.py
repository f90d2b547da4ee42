"""The embedding of a decode step: rows that have a mixture due get it, the others what SGLang gives them."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from moi_serving.embedding import Lookup, Mixer, TableMixer, find_embedding, mixer_of
from moi_serving.row_layout import ids_of, weights_of
from moi_sglang.batch_metadata import Replay
from moi_sglang.compatibility import refuse
from moi_sglang.host import batches, model
from moi_sglang.runtime import Runtime


class Embedding:
    """Finds the model's input embedding and mixes in that instance alone."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def model_loaded(self, result: Any, runner: Any, *args: Any, **kwargs: Any) -> None:
        """AFTER the model is loaded: hook the instance that embeds. SystemExit where that is not certain."""
        if model.is_draft(runner):
            return
        try:
            module = find_embedding(model.model(runner), model.vocab_size(runner))
        except ValueError as error:
            refuse(f"--model-path does not go with --enable-moi: {error}")
        name, shard = model.lookup_method(module), model.plain_shard(module)
        original: Lookup = getattr(module, name)
        mixer = TableMixer(module, *shard) if shard else mixer_of(module, original)
        setattr(module, name, lambda input_ids: self._embed(original, mixer, input_ids))
        self._runtime.runner, self._runtime.mixer = runner, mixer

    def _embed(self, original: Lookup, mixer: Mixer, input_ids: Tensor) -> Tensor:
        x = original(input_ids)
        batch, metadata = self._runtime.batch, self._runtime.metadata
        if batch is None or not self._runtime.ready:
            return x
        if metadata.replay is not None:
            return replayed(x, metadata.replay, mixer)
        if metadata.active and batches.is_decode(batch):
            return self._runtime.slots.apply(x, batches.slots(batch), input_ids, batches.positions(batch))
        return x


def replayed(x: Tensor, replay: Replay, mixer: Mixer) -> Tensor:
    """x [T,D] of a prefill with the mixtures that the retracted tokens were fed as."""
    return x.index_copy(0, replay.at, mixer(ids_of(replay.rows), weights_of(replay.rows)))
