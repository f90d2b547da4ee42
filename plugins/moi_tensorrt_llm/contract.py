"""What this integration relies on in TensorRT-LLM, as data: checked on the user's machine, refused on drift.

Recorded from NVIDIA's sources of the versions in VERSIONS. A name that moved is listed with both places.
"""

from __future__ import annotations

import importlib
import re
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from typing import Any, NamedTuple

from moi_serving.contract import Symbol, problems

DISTRIBUTION = "tensorrt_llm"
VERSIONS = ((1, 2), (1, 4))  # from the first, up to but without the second

_MODELS = "tensorrt_llm._torch.models"
_ATTENTION = ("tensorrt_llm._torch.attention_backend", "tensorrt_llm._torch.attention.backends")
FORWARD = ("attn_metadata", "input_ids", "position_ids", "inputs_embeds", "return_context_logits")

# By the values of `attn_backend`: where each may be.
ATTENTION_BACKENDS = {
    "TRTLLM": tuple(f"{package}.trtllm:TrtllmAttention" for package in _ATTENTION),
    "FLASHINFER": tuple(f"{package}.flashinfer:FlashInferAttention" for package in _ATTENTION),
    "VANILLA": tuple(f"{package}.vanilla:VanillaAttention" for package in _ATTENTION),
}


class Need(NamedTuple):
    """What a symbol is to us, and the places where it may be, of which one is enough."""

    meaning: str
    places: tuple[Symbol, ...]


def _need(meaning: str, *places: str, **declared: Any) -> Need:
    return Need(meaning, tuple(Symbol(place, **declared) for place in places))


CONTRACT = (
    _need(
        "our processor is called after the forward of a request's first step, before sampling",
        "tensorrt_llm.sampling_params:LogitsProcessor.__call__",
        positional=("req_id", "logits", "token_ids", "stream_ptr", "client_id"),
    ),
    _need(
        "carries the processor of a request to its worker, in the list that we made",
        "tensorrt_llm.sampling_params:SamplingParams",
        fields=("logits_processor", "temperature"),
    ),
    _need(
        "replaces a model class by name",
        f"{_MODELS}.modeling_utils:register_auto_model",
        positional=("name",),
        called=True,
    ),
    _need("what workers are sent, or the modules of it", f"{_MODELS}.modeling_utils:MODEL_CLASS_MAPPING"),
    _need(
        "takes inputs_embeds in the place of input_ids",
        f"{_MODELS}.modeling_utils:DecoderModelForCausalLM.forward",
        positional=FORWARD,
    ),
    *(
        _need("the class that ours extends", f"{_MODELS}.{name}.__init__", positional=("model_config",))
        for name in (
            *("modeling_llama:LlamaForCausalLM", "modeling_qwen:Qwen2ForCausalLM", "modeling_qwen3:Qwen3ForCausalLM"),
        )
    ),
    _need(
        "which rows a step has, and whose",
        *(f"{package}.interface:AttentionMetadata" for package in _ATTENTION),
        fields=(
            *("request_ids", "prompt_lens", "num_seqs", "num_contexts", "num_ctx_tokens", "seq_lens", "seq_lens_cuda"),
            *("is_cuda_graph", "kv_cache_manager", "kv_cache_params", "max_num_requests"),
        ),
    ),
    *(
        _need(meaning, *(f"{package}.interface:AttentionMetadata.{method}" for package in _ATTENTION))
        for method, meaning in (
            ("prepare", "called before each step, outside of graphs"),
            ("__post_init__", "called when metadata is made, and when it is made for a graph"),
            ("create_cuda_graph_metadata", "copies metadata, whose class stays ours"),
        )
    ),
    *(
        _need("its metadata's class is replaced by ours", *ATTENTION_BACKENDS[name], fields=("Metadata",))
        for name in ("TRTLLM", "VANILLA")  # the third needs a library that may be missing
    ),
    _need(
        "the settings that are refused",
        "tensorrt_llm.llmapi.llm_args:TorchLlmArgs",
        fields=(
            *("kv_cache_config", "scheduler_config", "speculative_config", "torch_compile_config"),
            *("max_beam_width", "pipeline_parallel_size", "enable_attention_dp"),
        ),
    ),
    _need(
        "whether requests are preempted",
        "tensorrt_llm.llmapi.llm_args:SchedulerConfig",
        fields=("capacity_scheduler_policy",),
    ),
    _need(
        "block reuse must be off: blocks are keyed by token ids",
        "tensorrt_llm.llmapi.llm_args:KvCacheConfig",
        fields=("enable_block_reuse",),
    ),
)


def check_contract() -> list[str]:
    """How the installed TensorRT-LLM differs from the contract; empty if it does not. Imports the host."""
    try:
        installed = version(DISTRIBUTION)
    except PackageNotFoundError:
        return [f"{DISTRIBUTION} is not installed; it comes from NVIDIA's own package index"]
    if problem := _version_problem(installed):
        return [problem]
    try:
        importlib.import_module(DISTRIBUTION)
    except Exception as error:  # a missing driver or library shows as anything
        return [f"{DISTRIBUTION} {installed} cannot be imported: {type(error).__name__}: {error}"]
    return [difference for need in CONTRACT for difference in _differences(need)]


def _differences(need: Need) -> list[str]:
    """At the place where the host has it; at all of them where it is at none as declared."""
    found = [problems([symbol]) for symbol in need.places]
    return [f"{'; '.join(chain(*found))} ({need.meaning})"] if all(found) else []


def require_contract() -> None:
    """RuntimeError that lists every difference."""
    problems = check_contract()
    if problems:
        raise RuntimeError("TensorRT-LLM differs from what MoI was written against: " + "; ".join(problems))


def _version_problem(installed: str) -> str | None:
    numbers = tuple(int(part) for part in re.findall(r"\d+", installed)[:2])
    low, high = VERSIONS
    if low <= numbers < high:
        return None
    allowed = f">={low[0]}.{low[1]},<{high[0]}.{high[1]}"
    return f"{DISTRIBUTION} {installed} is outside {allowed}, the versions the contract was recorded from"
