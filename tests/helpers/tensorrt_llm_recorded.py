"""Names and signatures of TensorRT-LLM as its sources of the 1.2 and 1.3 lines declare them, typed in by hand.

Only declarations: no body, nothing runs. `install` makes modules of them; tests then change one and expect the
contract to notice.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

MODELS = "tensorrt_llm._torch.models"


class LogitsProcessor:
    def __call__(self, req_id, logits, token_ids, stream_ptr, client_id):
        raise NotImplementedError


class SamplingParams:
    end_id: Any
    max_tokens: int = 32
    temperature: Any = None
    n: int = 1
    logits_processor: Any = None

    def __init__(self, logits_processor=None, temperature=None, n=1):
        self.logits_processor, self.temperature, self.n = logits_processor, temperature, n

    apply_batched_logits_processor: bool = False


MODEL_CLASS_MAPPING: dict[str, type] = {}


def register_auto_model(name):
    def decorator(cls):
        MODEL_CLASS_MAPPING[name] = cls
        return cls

    return decorator


class DecoderModelForCausalLM:
    def forward(
        self,
        attn_metadata,
        input_ids=None,
        position_ids=None,
        inputs_embeds=None,
        return_context_logits=False,
        spec_metadata=None,
        lora_params=None,
        **kwargs,
    ):
        raise NotImplementedError


class LlamaForCausalLM(DecoderModelForCausalLM):
    def __init__(self, model_config):
        raise NotImplementedError


class Qwen2ForCausalLM(DecoderModelForCausalLM):
    def __init__(self, model_config):
        raise NotImplementedError


class Qwen3ForCausalLM(DecoderModelForCausalLM):
    def __init__(self, model_config):
        raise NotImplementedError


class AttentionMetadata:
    max_num_requests: int
    max_num_tokens: int
    kv_cache_manager: Any
    is_cuda_graph: bool = False
    request_ids: Any = None
    prompt_lens: Any = None
    kv_cache_params: Any = None
    seq_lens_cuda: Any = None

    def __post_init__(self):
        raise NotImplementedError

    def prepare(self):
        raise NotImplementedError

    def create_cuda_graph_metadata(self, max_batch_size, sub_cross_metadata=False, max_draft_tokens=0, buffers=None):
        raise NotImplementedError

    @property
    def seq_lens(self):
        raise NotImplementedError

    @property
    def num_seqs(self):
        raise NotImplementedError

    @property
    def num_contexts(self):
        raise NotImplementedError

    @property
    def num_ctx_tokens(self):
        raise NotImplementedError


class AttentionBackend:
    Metadata = AttentionMetadata


class TrtllmAttention(AttentionBackend):
    Metadata = type("TrtllmAttentionMetadata", (AttentionMetadata,), {})


class FlashInferAttention(AttentionBackend):
    Metadata = type("FlashInferAttentionMetadata", (AttentionMetadata,), {})


class VanillaAttention(AttentionBackend):
    Metadata = type("VanillaAttentionMetadata", (AttentionMetadata,), {})


class TorchLlmArgs:
    cuda_graph_config: Any
    kv_cache_config: Any
    scheduler_config: Any
    speculative_config: Any
    max_beam_width: Any
    pipeline_parallel_size: int = 1
    enable_attention_dp: bool = False
    torch_compile_config: Any = None
    cache_transceiver_config: Any = None


class SchedulerConfig:
    capacity_scheduler_policy: Any = "GUARANTEED_NO_EVICT"


class DefaultInputProcessor:
    def __call__(self, inputs, sampling_params):
        raise NotImplementedError


class _InputProcessors:
    def __init__(self):
        self._input_processors_cls_by_model_type = {}


INPUT_PROCESSOR_REGISTRY = _InputProcessors()


class KvCacheConfig:
    enable_block_reuse: bool = True


PLACES: dict[str, list[Any]] = {
    "tensorrt_llm.sampling_params": [LogitsProcessor, SamplingParams],
    f"{MODELS}.modeling_utils": [register_auto_model, DecoderModelForCausalLM],
    f"{MODELS}.modeling_llama": [LlamaForCausalLM],
    f"{MODELS}.modeling_qwen": [Qwen2ForCausalLM],
    f"{MODELS}.modeling_qwen3": [Qwen3ForCausalLM],
    "tensorrt_llm._torch.attention_backend.interface": [AttentionMetadata],
    "tensorrt_llm._torch.attention_backend.trtllm": [TrtllmAttention],
    "tensorrt_llm._torch.attention_backend.flashinfer": [FlashInferAttention],
    "tensorrt_llm._torch.attention_backend.vanilla": [VanillaAttention],
    "tensorrt_llm.inputs.registry": [DefaultInputProcessor],
    "tensorrt_llm.llmapi.llm_args": [TorchLlmArgs, SchedulerConfig, KvCacheConfig],
}


def install(monkeypatch: Any) -> dict[str, ModuleType]:
    """Put the recorded modules, and the packages above them, into sys.modules for the length of a test."""
    modules: dict[str, ModuleType] = {}
    for place, members in PLACES.items():
        parts = place.split(".")
        for length in range(1, len(parts) + 1):
            name = ".".join(parts[:length])
            module = modules.setdefault(name, ModuleType(name))
            module.__path__ = []
        for member in members:
            setattr(modules[place], member.__name__, member)
    modules[f"{MODELS}.modeling_utils"].MODEL_CLASS_MAPPING = MODEL_CLASS_MAPPING
    modules["tensorrt_llm"].SamplingParams = SamplingParams
    modules["tensorrt_llm.inputs.registry"].INPUT_PROCESSOR_REGISTRY = INPUT_PROCESSOR_REGISTRY
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return modules
