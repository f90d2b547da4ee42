"""The embedding of a decode step: rows that have a mixture due get it, the others what SGLang gives them."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from moi_serving.embedding import Lookup, Mixer, TableMixer, find_embedding, mixer_of
from moi_serving.row_layout import ids_of, weights_of
from moi_sglang.batch_metadata import Replay
from moi_sglang.compatibility import refuse
from moi_sglang.runtime import Runtime


class Embedding:
    """Finds the model's input embedding and mixes in that instance alone."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def model_loaded(self, result: Any, runner: Any, *args: Any, **kwargs: Any) -> None:
        """AFTER ModelRunner.load_model."""
        if runner.is_draft_worker:
            return
        try:
            module, name = find_embedding(runner.model, runner.model_config.vocab_size), "forward"
        except ValueError as error:
            refuse(f"--model-path does not go with --enable-moi: {error}")
        if hasattr(module, "_embed_local_shard"):  # before the all-reduce of tensor parallelism
            name = "_embed_local_shard"
        original: Lookup = getattr(module, name)
        mixer = shard_mixer(module) or mixer_of(module, original)
        setattr(module, name, lambda input_ids: self._embed(original, mixer, input_ids))
        self._runtime.runner, self._runtime.mixer = runner, mixer

    def _embed(self, original: Lookup, mixer: Mixer, input_ids: Tensor) -> Tensor:
        x = original(input_ids)
        batch, metadata = self._runtime.batch, self._runtime.metadata
        if batch is None or not self._runtime.ready:
            return x
        if metadata.replay is not None:
            return replayed(x, metadata.replay, mixer)
        if metadata.active and batch.forward_mode.is_decode():
            return self._runtime.slots.apply(x, batch.req_pool_indices, input_ids, batch.positions)
        return x


def replayed(x: Tensor, replay: Replay, mixer: Mixer) -> Tensor:
    """x [T,D] of a prefill with the mixtures that the retracted tokens were fed as."""
    return x.index_copy(0, replay.at, mixer(ids_of(replay.rows), weights_of(replay.rows)))


def shard_mixer(module: Any) -> Mixer | None:
    """Of a VocabParallelEmbedding that embeds its shard of the table as it is; None of any other module."""
    weight, shard = getattr(module, "weight", None), getattr(module, "shard_indices", None)
    if not isinstance(weight, Tensor) or not weight.is_floating_point() or weight.ndim != 2 or shard is None:
        return None
    plain = type(module.quant_method).__name__ == "UnquantizedEmbeddingMethod" and module.output_dtype is None
    if shard.num_added_elements or not plain:
        return None
    return TableMixer(module, shard.org_vocab_start_index, shard.org_vocab_end_index)
