"""The flags and variables of SGLang that do not go with MoI, as data. docs/sglang.md holds the same table.

Fields are those of the resolved arguments, which are what SGLang's schedulers read.
"""

from __future__ import annotations

from typing import Any

from moi_serving.compatibility import Conflict, above_one


def _named(value: Any) -> bool:
    return value not in (None, "", "none", "null")


def _on_embedding(modules: Any) -> bool:
    return any(name in ("embed_tokens", "all") for name in modules or ())


def _own_sampler(backend: Any) -> bool:
    return backend not in (None, "flashinfer", "pytorch", "ascend", "intel_xpu")


_SHARES = "it would share KV of mixed tokens by token id"
_PARTS = "a rank holds part of the batch's tokens"
_JOINS = "a rank that joins has no mixtures"
_KERNEL = "its kernel embeds tokens by itself"

CONFLICTS = (
    Conflict("--speculative-algorithm", "speculative_algorithm", _named, "drafts are verified by their token ids"),
    Conflict("--decoupled-spec-role", "decoupled_spec_role", _named, "drafts are verified by their token ids"),
    Conflict("--disaggregation-mode", "disaggregation_mode", _named, "mixtures do not travel between servers"),
    Conflict("--pp-size", "pp_size", above_one, "the rank that embeds is not the rank that samples"),
    Conflict(
        *("--enable-dp-attention", "attn_dp_size", above_one),
        "a rank embeds tokens that another rank sampled; --attn-dp-size and --dwdp-size turn it on, too",
    ),
    Conflict("--enable-mixed-chunk", "enable_mixed_chunk", bool, "it turns decode rows into prefill rows"),
    Conflict("--enable-pdmux", "enable_pdmux", bool, "prefill and decode run at the same time"),
    Conflict("--enable-two-batch-overlap", "enable_two_batch_overlap", bool, "it splits a batch before the embedding"),
    Conflict("--dllm-algorithm", "dllm_algorithm", _named, "diffusion models do not decode token by token"),
    Conflict("--enable-torch-compile", "enable_torch_compile", bool, "compiled graphs bypass the embedding hook"),
    Conflict("--rl-on-policy-target", "rl_on_policy_target", _named, "a trainer cannot reproduce mixed inputs"),
    Conflict("--attn-cp-size", "attn_cp_size", above_one, _PARTS),
    Conflict("--dcp-size", "dcp_size", above_one, _PARTS),
    Conflict("--enable-prefill-cp", "enable_prefill_cp", bool, _PARTS),
    Conflict("--enable-hisparse", "enable_hisparse", bool, "it moves KV of generated tokens by itself"),
    Conflict("--enable-lmcache", "enable_lmcache", bool, _SHARES),
    Conflict("--enable-flexkv", "enable_flexkv", bool, _SHARES),
    Conflict("--radix-cache-backend", "radix_cache_backend", _named, _SHARES),
    Conflict("--enable-unified-cache-external-linker", "enable_unified_cache_external_linker", bool, _SHARES),
    Conflict("--elastic-ep-backend", "elastic_ep_backend", _named, _JOINS),
    Conflict("--enable-elastic-expert-backup", "enable_elastic_expert_backup", bool, _JOINS),
    Conflict("--lora-target-modules", "lora_target_modules", _on_embedding, "LoRA on the embedding reads ids again"),
    Conflict("--model-impl", "model_impl", lambda value: value == "mindspore", "MindSpore models embed by themselves"),
    Conflict("--enable-nvidia-megakernel", "enable_nvidia_megakernel", bool, _KERNEL),
    Conflict("--enable-amd-monokernel", "enable_amd_monokernel", bool, _KERNEL),
    Conflict(
        *("--enable-adaptive-dispatch-to-encoder", "enable_adaptive_dispatch_to_encoder", bool),
        "it embeds parts of a batch one by one",
    ),
    Conflict("--is-embedding", "is_embedding", bool, "the model does not generate"),
    Conflict("--sampling-backend", "sampling_backend", _own_sampler, "mixtures are read in SGLang's own sampler"),
    Conflict("--use-ray", "use_ray", bool, "Ray's scheduler processes load no plugins"),
)

# Of SGLang's environment: they conflict where SGLang reads them as true.
VARIABLES = (
    Conflict("SGLANG_USE_MLX", "SGLANG_USE_MLX", bool, "MLX models do not use SGLang's embedding"),
    Conflict("SGLANG_RUST_SERVER", "SGLANG_RUST_SERVER", bool, "the Rust server loads no plugins"),
)
