"""The model and its input embedding, of which a rank may hold a part of the vocabulary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from moi_vllm.host import VLLM

_TABLE = "model_executor.layers.vocab_parallel_embedding.VocabParallelEmbedding"

VLLM.has(_TABLE, "shard_indices", "quant_method", "tp_size", "reduce_results", "parallel_group")
VLLM.has(f"{_TABLE}ShardIndices", "org_vocab_start_index", "org_vocab_end_index", "num_added_elements")
VLLM.called(f"{_TABLE}.forward(input_)")
_all_reduce = VLLM.function("distributed.communication_op.tensor_model_parallel_all_reduce(input_)")
_reads_ids = VLLM.function("model_executor.models.interfaces.requires_raw_input_tokens(model)")


def reads_ids(model: Any) -> bool:
    """Whether a model wants token ids beside their embeddings."""
    return bool(_reads_ids(model))


def embed(model: Any, ids: Tensor) -> Tensor:
    """[n] to [n,D], as the model embeds its inputs."""
    x: Tensor = model.embed_input_ids(ids)
    return x


def take_over_reduction(module: Any) -> Callable[[Tensor], Tensor] | None:
    """From now on a look-up gives this rank's part alone; what adds up the parts of all ranks, or None for one rank."""
    if getattr(module, "tp_size", 1) == 1 or not module.reduce_results:
        return None
    module.reduce_results = False
    group = module.parallel_group
    reduce: Callable[[Tensor], Tensor] = _all_reduce if group is None else group.all_reduce
    return reduce


def plain_shard(module: Any) -> tuple[int, int] | None:
    """First id, and the one after the last, of a shard that embeds its table as it is; None of any other module."""
    weight, shard = getattr(module, "weight", None), getattr(module, "shard_indices", None)
    if not isinstance(weight, Tensor) or not weight.is_floating_point() or weight.ndim != 2 or shard is None:
        return None
    plain = type(module.quant_method).__name__ == "UnquantizedEmbeddingMethod" and weight.element_size() > 1
    return (shard.org_vocab_start_index, shard.org_vocab_end_index) if plain and not shard.num_added_elements else None
