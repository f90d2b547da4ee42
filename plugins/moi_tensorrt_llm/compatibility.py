"""Settings of TensorRT-LLM under which mixtures would silently be lost: each is refused with the way out."""

from __future__ import annotations

from typing import Any

from moi_serving.compatibility import GONE, Conflict, above_one, conflicts, given
from moi_tensorrt_llm.server_settings import REPLAY_VARIABLES

_RANKS = "logits and embeddings live on different ranks"

# Each row names the setting that is safe. These are of tensorrt_llm.llmapi.TorchLlmArgs,
# i.e. the options of LLM(...) and of trtllm-serve's --config file.
ARGUMENTS = (
    Conflict("torch_compile_config=None", "torch_compile_config", given, "its graphs were never run with mixtures"),
    Conflict(
        "prefill_cuda_graph_backend=None",
        "prefill_cuda_graph_backend",
        lambda backend: backend in ("breakable", "piecewise"),
        "replayed prefills skip the inputs that we make",
    ),
    Conflict(
        "enable_block_reuse=False",
        "kv_cache_config.enable_block_reuse",
        lambda reuse: reuse is not False,  # TensorRT-LLM's default is True
        "blocks are keyed by token ids",
    ),
    Conflict("speculative_config=None", "speculative_config", given, "drafts have no mixtures"),
    Conflict("max_beam_width=1", "max_beam_width", above_one, "beams share a request id"),
    Conflict("pipeline_parallel_size=1", "pipeline_parallel_size", above_one, _RANKS),
    Conflict("enable_attention_dp=False", "enable_attention_dp", bool, "requests move between ranks"),
    Conflict("cache_transceiver_config=None", "cache_transceiver_config", given, "disaggregation moves requests"),
)

# Of the same, where mixtures are not kept.
PREEMPTION = Conflict(
    f"capacity_scheduler_policy=GUARANTEED_NO_EVICT, or {REPLAY_VARIABLES[0]}",
    "scheduler_config.capacity_scheduler_policy",
    lambda policy: "MAX_UTILIZATION" in str(policy),
    "it preempts requests, whose mixtures are lost",
)

# Of the ModelConfig a worker builds its model from: what the model class can see by itself.
MODEL = (
    Conflict("speculative_config=None", "spec_config", given, "drafts have no mixtures"),
    Conflict("pipeline_parallel_size=1", "mapping.pp_size", above_one, _RANKS),
    Conflict("enable_attention_dp=False", "mapping.enable_attention_dp", bool, "requests move between ranks"),
)

# Of the AttentionMetadata of a step: what only running shows.
STEP = (
    Conflict("enable_block_reuse=False", "kv_cache_manager.enable_block_reuse", bool, "blocks are keyed by token ids"),
)


def refuse_arguments(arguments: Any, replay_tokens: int = 0) -> None:
    """ValueError that lists every setting of LLM(...) that MoI cannot work under; mappings are read too.

    replay_tokens  as of `moi_tensorrt_llm.server_settings`
    """
    _refuse(arguments, ARGUMENTS if replay_tokens else (*ARGUMENTS, PREEMPTION))


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
