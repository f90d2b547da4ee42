"""The flags of vLLM that do not go with MoI, as data. docs/vllm.md holds the same table.

Fields are those of the resolved VllmConfig, which all processes read.
"""

from __future__ import annotations

from typing import Any

from moi_serving.compatibility import Conflict, above_one, given


def _off(value: Any) -> bool:
    return not value


def _no_text(value: Any) -> bool:
    return bool(value != "generate")


def _ray(value: Any) -> bool:
    return bool(value == "ray")


_PARTS = "a rank holds part of a request's tokens"
_LEAVES = "KV of mixed tokens would leave under the hash of their ids"

CONFLICTS = (
    Conflict(
        *("VLLM_USE_V2_MODEL_RUNNER=0", "use_v2_model_runner", _off),
        "mixtures are fed through Model Runner V2, which this configuration does not use",
    ),
    Conflict("--speculative-config", "speculative_config", given, "drafts are verified by their token ids"),
    Conflict(
        *("--pipeline-parallel-size", "parallel_config.pipeline_parallel_size", above_one),
        "the rank that embeds is not the rank that samples",
    ),
    Conflict("--decode-context-parallel-size", "parallel_config.decode_context_parallel_size", above_one, _PARTS),
    Conflict("--prefill-context-parallel-size", "parallel_config.prefill_context_parallel_size", above_one, _PARTS),
    Conflict("--enable-dbo", "parallel_config.use_ubatching", bool, "it splits a batch before the embedding"),
    Conflict(
        *("--enable-batch-sharded-sampling", "parallel_config.enable_batch_sharded_sampling", bool),
        "a rank sees the logits of its own rows alone",
    ),
    Conflict(*("--enable-elastic-ep", "parallel_config.enable_elastic_ep", bool), "a rank that joins has no mixtures"),
    Conflict(
        *("--distributed-executor-backend ray", "parallel_config.distributed_executor_backend", _ray),
        "mixing was not tested in Ray's processes",
    ),
    # vLLM makes a kv_transfer_config of it.
    Conflict("--kv-offloading-size", "cache_config.kv_offloading_size", given, _LEAVES),
    Conflict("--kv-transfer-config", "kv_transfer_config", given, _LEAVES),
    Conflict("--ec-transfer-config", "ec_transfer_config", given, "mixing was not tested with encoder transfer"),
    Conflict("--enable-lora", "lora_config", given, "LoRA on the embedding would look the token id up again"),
    Conflict("--watermark-config", "watermark_config", given, "it replaces the sampler whose logits are mixed"),
    Conflict("--diffusion-config", "diffusion_config", given, "diffusion models do not decode token by token"),
    Conflict("--model", "model_config.is_diffusion", bool, "diffusion models do not decode token by token"),
    Conflict("--model", "model_config.is_encoder_decoder", bool, "mixing was not tested in encoder-decoder models"),
    Conflict("--runner", "model_config.runner_type", _no_text, "the model does not generate"),
)
