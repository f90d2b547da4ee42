"""SGLang's model runner, and the input embedding of its model."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from moi_sglang.host import SGLANG, Read

_RUNNER, _TABLE = "model_executor.model_runner.ModelRunner", "layers.vocab_parallel_embedding.VocabParallelEmbedding"

POOL_ALLOCATED = SGLANG.hooked(f"{_RUNNER}.alloc_memory_pool()")

is_draft: Read[bool] = SGLANG.field(_RUNNER, "is_draft_worker")
model: Read[Any] = SGLANG.field(_RUNNER, "model")
device: Read[Any] = SGLANG.field(_RUNNER, "device")
vocab_size: Read[int] = SGLANG.field(_RUNNER, "model_config.vocab_size")

SGLANG.has(_RUNNER, "req_to_token_pool", "lora_manager")
SGLANG.has("mem_cache.memory_pool.ReqToTokenPool", "req_to_token")
SGLANG.has("lora.lora_manager.LoRAManager", "target_modules")
SGLANG.has(_TABLE, "shard_indices", "quant_method", "output_dtype")
SGLANG.has(f"{_TABLE}ShardIndices", "org_vocab_start_index", "org_vocab_end_index", "num_added_elements")
SGLANG.called(f"{_TABLE}._embed_local_shard(input_)")


def slot_count(runner: Any) -> int:
    """Request slots of the memory pool."""
    return int(runner.req_to_token_pool.req_to_token.shape[0])


def adapted_modules(runner: Any) -> set[str]:
    """Names of the modules that LoRA adapters change."""
    manager = getattr(runner, "lora_manager", None)
    return set() if manager is None else set(manager.target_modules)


def lookup_method(module: Any) -> str:
    """Name of the method by which an embedding looks ids up: its shard's, before the all-reduce."""
    return "_embed_local_shard" if hasattr(module, "_embed_local_shard") else "forward"


def plain_shard(module: Any) -> tuple[int, int] | None:
    """First id, and the one after the last, of a shard that embeds its table as it is; None of any other module."""
    weight, shard = getattr(module, "weight", None), getattr(module, "shard_indices", None)
    if not isinstance(weight, Tensor) or not weight.is_floating_point() or weight.ndim != 2 or shard is None:
        return None
    plain = type(module.quant_method).__name__ == "UnquantizedEmbeddingMethod" and module.output_dtype is None
    return (shard.org_vocab_start_index, shard.org_vocab_end_index) if plain and not shard.num_added_elements else None
