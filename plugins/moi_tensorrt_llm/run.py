"""A few greedy tokens from TensorRT-LLM with mixtures, in its CUDA graphs: what the self-test compares.

Written against the recorded contract; this project's CI has no TensorRT-LLM to run it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from moi import MoIConfig
from moi_tensorrt_llm.compatibility import refuse_arguments
from moi_tensorrt_llm.processor import logits_processors
from moi_tensorrt_llm.registration import register_models


def safe_arguments(kv_cache_config: Any) -> dict[str, Any]:
    """Options of `LLM(...)` under which mixtures survive; `kv_cache_config` must have block reuse off."""
    arguments = {
        "torch_compile_config": None,
        "kv_cache_config": kv_cache_config,
        "speculative_config": None,
        "pipeline_parallel_size": 1,
    }
    refuse_arguments(arguments)
    return arguments


def greedy(model: Path, prompts: list[list[int]], configs: list[MoIConfig], new_tokens: int) -> list[tuple[int, ...]]:
    """Token ids generated for each prompt (token ids), one config a prompt.

    Raises RuntimeError if the host differs from the contract.
    """
    # Models are registered in this process, so the worker has to be this process.
    os.environ.setdefault("TLLM_WORKER_USE_SINGLE_PROCESS", "1")
    register_models()
    from tensorrt_llm import LLM, SamplingParams
    from tensorrt_llm.llmapi import KvCacheConfig

    arguments = safe_arguments(KvCacheConfig(enable_block_reuse=False, free_gpu_memory_fraction=0.2))
    sampling = [
        SamplingParams(max_tokens=new_tokens, top_k=1, end_id=-1, logits_processor=logits_processors(config))
        for config in configs
    ]
    with LLM(model=str(model), skip_tokenizer_init=True, **arguments) as llm:
        outputs = llm.generate(prompts, sampling)
    return [tuple(output.outputs[0].token_ids) for output in outputs]
