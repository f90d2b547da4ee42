"""Settings of TensorRT-LLM under which mixtures would silently be lost: each is refused with the way out."""

from __future__ import annotations

from typing import Any

from moi_serving.compatibility import GONE, Conflict, above_one, conflicts, given

_RANKS = "logits and embeddings live on different ranks"

# Each row names the setting that is safe. These are of tensorrt_llm.llmapi.TorchLlmArgs,
# i.e. the options of LLM(...) and of trtllm-serve's --config file.
ARGUMENTS = (
    Conflict("cuda_graph_config=None", "cuda_graph_config", given, "replayed graphs skip the Python forward"),
    Conflict("torch_compile_config=None", "torch_compile_config", given, "the compiled forward is traced without rows"),
    Conflict("enable_block_reuse=False", "kv_cache_config.enable_block_reuse", bool, "blocks are keyed by token ids"),
    Conflict("speculative_config=None", "speculative_config", given, "drafts have no mixtures"),
    Conflict("max_beam_width=1", "max_beam_width", above_one, "beams share a request id"),
    Conflict("pipeline_parallel_size=1", "pipeline_parallel_size", above_one, _RANKS),
    Conflict("enable_attention_dp=False", "enable_attention_dp", bool, "requests move between ranks"),
    Conflict("cache_transceiver_config=None", "cache_transceiver_config", given, "disaggregation moves requests"),
)

# Of the ModelConfig a worker builds its model from: what the model class can see by itself.
MODEL = (
    Conflict("speculative_config=None", "spec_config", given, "drafts have no mixtures"),
    Conflict("pipeline_parallel_size=1", "mapping.pp_size", above_one, _RANKS),
    Conflict("enable_attention_dp=False", "mapping.enable_attention_dp", bool, "requests move between ranks"),
)

# Of the AttentionMetadata of a step: what only running shows.
STEP = (
    Conflict("cuda_graph_config=None", "is_cuda_graph", bool, "replayed graphs skip the Python forward"),
    Conflict("enable_block_reuse=False", "kv_cache_manager.enable_block_reuse", bool, "blocks are keyed by token ids"),
)


def refuse_arguments(arguments: Any) -> None:
    """ValueError that lists every setting of LLM(...) that MoI cannot work under; mappings are read too."""
    _refuse(arguments, ARGUMENTS)


def refuse_model(model_config: Any) -> None:
    """ValueError for what a worker's ModelConfig shows."""
    _refuse(model_config, MODEL)


def refuse_step(attn_metadata: Any) -> None:
    """ValueError for what a step's AttentionMetadata shows."""
    _refuse(attn_metadata, STEP)


def _refuse(settings: Any, table: tuple[Conflict, ...]) -> None:
    """What is not given counts as None."""
    problems = [
        f"{row.field}={value!r} ({row.reason}), set {row.flag}"
        for row, value in conflicts(table, settings)
        if value is not GONE or row.present(None)
    ]
    if problems:
        raise ValueError("MoI cannot work with these TensorRT-LLM settings: " + "; ".join(problems))
