"""Settings of TensorRT-LLM under which mixtures would silently be lost: each is refused with the way out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple


class Rule(NamedTuple):
    """A setting, by dotted name; `holds` says whether its value is safe."""

    setting: str
    holds: Callable[[Any], bool]
    remedy: str
    why: str


def _absent(value: Any) -> bool:
    return value is None


def _off(value: Any) -> bool:
    return not value


def _one(value: Any) -> bool:
    return value in (None, 1)


# Of tensorrt_llm.llmapi.TorchLlmArgs, i.e. the options of LLM(...) and of trtllm-serve's --config file.
ARGUMENTS = (
    Rule("cuda_graph_config", _absent, "cuda_graph_config=None", "replayed graphs skip the Python forward"),
    Rule("torch_compile_config", _absent, "torch_compile_config=None", "the compiled forward is traced without rows"),
    Rule("kv_cache_config.enable_block_reuse", _off, "enable_block_reuse=False", "blocks are keyed by token ids"),
    Rule("speculative_config", _absent, "speculative_config=None", "drafts have no mixtures"),
    Rule("max_beam_width", _one, "max_beam_width=1", "beams share a request id"),
    Rule("pipeline_parallel_size", _one, "pipeline_parallel_size=1", "logits and embeddings live on different ranks"),
    Rule("enable_attention_dp", _off, "enable_attention_dp=False", "requests move between ranks"),
    Rule("cache_transceiver_config", _absent, "cache_transceiver_config=None", "disaggregation moves requests"),
)

# Of the ModelConfig a worker builds its model from: what the model class can see by itself.
MODEL = (
    Rule("spec_config", _absent, "speculative_config=None", "drafts have no mixtures"),
    Rule("mapping.pp_size", _one, "pipeline_parallel_size=1", "logits and embeddings live on different ranks"),
    Rule("mapping.enable_attention_dp", _off, "enable_attention_dp=False", "requests move between ranks"),
)

# Of the AttentionMetadata of a step: what only running shows.
STEP = (
    Rule("is_cuda_graph", _off, "cuda_graph_config=None", "replayed graphs skip the Python forward"),
    Rule("kv_cache_manager.enable_block_reuse", _off, "enable_block_reuse=False", "blocks are keyed by token ids"),
)


def refuse_arguments(arguments: Any) -> None:
    """ValueError that lists every setting of LLM(...) that MoI cannot work under; mappings are read too."""
    _refuse(arguments, ARGUMENTS)


def refuse_model(model_config: Any) -> None:
    _refuse(model_config, MODEL)


def refuse_step(attn_metadata: Any) -> None:
    _refuse(attn_metadata, STEP)


def _refuse(settings: Any, rules: tuple[Rule, ...]) -> None:
    problems = list(_problems(settings, rules))
    if problems:
        raise ValueError("MoI cannot work with these TensorRT-LLM settings: " + "; ".join(problems))


def _problems(settings: Any, rules: tuple[Rule, ...]) -> Iterator[str]:
    for rule in rules:
        value = _read(settings, rule.setting)
        if not rule.holds(value):
            yield f"{rule.setting}={value!r} ({rule.why}), set {rule.remedy}"


def _read(settings: Any, name: str) -> Any:
    """A dotted setting; None where it, or what holds it, is absent."""
    for part in name.split("."):
        settings = settings.get(part) if isinstance(settings, dict) else getattr(settings, part, None)
    return settings
