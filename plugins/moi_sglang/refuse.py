"""What does not go with MoI: refused when the server starts, one line that names the flag and the reason."""

from __future__ import annotations

import importlib.metadata
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, NoReturn

from moi_sglang.contract import TESTED
from moi_sglang.settings import ServerSettings


class Conflict(NamedTuple):
    """A flag of SGLang, whether the resolved arguments set it, and why it is refused."""

    flag: str
    present: Callable[[Any], bool]
    reason: str


def _on(field: str) -> Callable[[Any], bool]:
    return lambda args: bool(getattr(args, field, None))


def _above_one(field: str) -> Callable[[Any], bool]:
    return lambda args: (getattr(args, field, None) or 1) > 1


def _env(name: str) -> Callable[[Any], bool]:
    return lambda args: os.environ.get(name, "").lower() in ("1", "true", "yes")


def _embedding_lora(args: Any) -> bool:
    return any(name in ("embed_tokens", "all") for name in args.lora_target_modules or ())


CONFLICTS = (
    Conflict("--speculative-algorithm", _on("speculative_algorithm"), "drafts are verified by their token ids"),
    Conflict(
        "--disaggregation-mode",
        lambda args: args.disaggregation_mode != "null",
        "mixtures do not travel between prefill and decode servers",
    ),
    Conflict("--pp-size", _above_one("pp_size"), "the rank that embeds is not the rank that samples"),
    Conflict("--enable-dp-attention", _on("enable_dp_attention"), "a rank embeds tokens that another rank sampled"),
    Conflict("--enable-mixed-chunk", _on("enable_mixed_chunk"), "it turns decode rows into prefill rows"),
    Conflict("--enable-pdmux", _on("enable_pdmux"), "prefill and decode run at the same time"),
    Conflict("--enable-two-batch-overlap", _on("enable_two_batch_overlap"), "it splits a batch before the embedding"),
    Conflict("--dllm-algorithm", _on("dllm_algorithm"), "diffusion models do not decode token by token"),
    Conflict("--enable-torch-compile", _on("enable_torch_compile"), "compiled graphs bypass the embedding hook"),
    Conflict("--rl-on-policy-target", _on("rl_on_policy_target"), "a trainer cannot reproduce mixed inputs"),
    Conflict("--attn-cp-size", _above_one("attn_cp_size"), "a rank holds part of the batch's tokens"),
    Conflict("--dcp-size", _above_one("dcp_size"), "a rank holds part of the batch's tokens"),
    Conflict("--enable-hisparse", _on("enable_hisparse"), "it moves KV of generated tokens by itself"),
    Conflict("--enable-lmcache", _on("enable_lmcache"), "it would share KV of mixed tokens by token id"),
    Conflict("--enable-flexkv", _on("enable_flexkv"), "it would share KV of mixed tokens by token id"),
    Conflict(
        "--enable-unified-cache-external-linker",
        _on("enable_unified_cache_external_linker"),
        "it would share KV of mixed tokens by token id",
    ),
    Conflict("--elastic-ep-backend", _on("elastic_ep_backend"), "a rank that joins has no mixtures"),
    Conflict(
        "--enable-elastic-expert-backup", _on("enable_elastic_expert_backup"), "a rank that joins has no mixtures"
    ),
    Conflict("--lora-target-modules", _embedding_lora, "LoRA on the embedding looks the token id up again"),
    Conflict(
        "--model-impl", lambda args: args.model_impl == "mindspore", "MindSpore models do not use SGLang's embedding"
    ),
    Conflict("--enable-nvidia-megakernel", _on("enable_nvidia_megakernel"), "its kernel embeds tokens by itself"),
    Conflict("--enable-amd-monokernel", _on("enable_amd_monokernel"), "its kernel embeds tokens by itself"),
    Conflict(
        "--enable-adaptive-dispatch-to-encoder",
        _on("enable_adaptive_dispatch_to_encoder"),
        "it embeds parts of a batch one by one",
    ),
    Conflict("--is-embedding", _on("is_embedding"), "the model does not generate"),
    Conflict("SGLANG_USE_MLX", _env("SGLANG_USE_MLX"), "MLX models do not use SGLang's embedding"),
    Conflict("SGLANG_RUST_SERVER", _env("SGLANG_RUST_SERVER"), "the Rust server loads no plugins"),
)

# Models that look token ids up again inside their layers: a mixture has no id.
READS_IDS_ELSEWHERE = (
    *("gemma3n", "gemma4", "gemma4_unified", "longcat_flash_ngram"),
    *("deepseek_v4", "deepseek_v41", "qwen4_exp"),
)
_PER_LAYER_FIELDS = (
    *("hidden_size_per_layer_input", "vocab_size_per_layer_input", "ple_layer_ids"),  # embeddings of each layer
    *("ngram_vocab_size_ratio", "engram_layer_ids"),  # tables of n-grams
    *("num_hash_layers", "n_hash_layers"),  # experts chosen by the id
)


def refusals(args: Any, settings: ServerSettings, model: Any) -> Iterator[str]:
    """Reasons not to start. args: ServerArgs as resolved; model: SGLang's ModelConfig."""
    version = importlib.metadata.version("sglang")
    if version not in TESTED and not settings.allow_untested:
        yield (
            f"sglang {version} is untested (tested: {', '.join(TESTED)}); "
            "--moi-allow-untested starts on it nevertheless"
        )
    for conflict in CONFLICTS:
        if conflict.present(args):
            yield f"{conflict.flag} does not go with --enable-moi: {conflict.reason}"
    if reason := _architecture(model):
        yield reason
    if settings.moi.top_k > model.vocab_size:
        yield f"--moi-top-k {settings.moi.top_k} is not allowed; the model's vocabulary has {model.vocab_size} ids"


def _architecture(model: Any) -> str | None:
    name = str(model.hf_config.model_type)
    texts: tuple[Any, ...] = (model.hf_config, model.hf_text_config)
    fields = sorted({field for text in texts for field in _PER_LAYER_FIELDS if _get(text, field)})
    if name.removesuffix("_text") in READS_IDS_ELSEWHERE or fields:
        detail = f" ({', '.join(fields)})" if fields else ""
        return f"--model-path: model type {name!r} reads token ids inside its layers{detail}; a mixture has no token id"
    return None


def refuse_embedding_lora(runner: Any) -> None:
    """Once adapters are read: theirs may name the embedding where no flag does. Stops this process."""
    manager = getattr(runner, "lora_manager", None)
    if manager is not None and "embed_tokens" in manager.target_modules:
        refuse(
            "--lora-paths does not go with --enable-moi: an adapter has LoRA on the embedding, which looks ids up again"
        )


def _get(config: Any, field: str) -> Any:
    return config.get(field) if isinstance(config, Mapping) else getattr(config, field, None)


def refuse(reason: str) -> NoReturn:
    """Stop this process. The launcher of SGLang only says that a child died, so the reason is logged as well."""
    logging.getLogger("moi_sglang").error("MoI: %s", reason)
    raise SystemExit(f"MoI: {reason}")
