"""vLLM's configuration, and the model that it names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from moi_vllm.host import VLLM, Read

CONFIG_MADE = VLLM.hooked("engine.arg_utils.EngineArgs.create_engine_config()")
FRONTEND_STARTS = VLLM.hooked("v1.engine.input_processor.InputProcessor.__init__(vllm_config)")
CORE_STARTS = VLLM.hooked("v1.core.sched.scheduler.Scheduler.__init__(vllm_config)")

_CONFIG, _MODEL = "config.vllm.VllmConfig", "config.model.ModelConfig"

model_config: Read[Any] = VLLM.field(_CONFIG, "model_config")
reasoning_config: Read[Any] = VLLM.field(_CONFIG, "reasoning_config")
VLLM.has(_CONFIG, "additional_config", "observability_config")
VLLM.has(_MODEL, "hf_config", "hf_text_config", "runner_type", "served_model_name", "model", "max_model_len")
VLLM.called(f"{_MODEL}.get_vocab_size()")
_REASONING = "config.reasoning.ReasoningConfig"
VLLM.has(_REASONING, "reasoning_start_token_ids", "natural_reasoning_end_token_ids")


class ServedModel(NamedTuple):
    """Hugging Face's configurations, of the whole model and of its text; the ids it knows."""

    configs: tuple[Any, Any]
    vocab_size: int


def version() -> str:
    """Of the installed vLLM, whatever its distribution is called; ImportError without one."""
    from vllm import __version__

    return str(__version__)


def additional_config(vllm_config: Any) -> Mapping[str, Any]:
    """What --additional-config said; empty where a platform keeps an object of its own there."""
    given = vllm_config.additional_config
    return given if isinstance(given, Mapping) else {}


def set_additional(vllm_config: Any, key: str, value: Any) -> None:
    """Keep a value where it travels to all processes. TypeError where a platform keeps an object of its own there."""
    given = vllm_config.additional_config or {}
    if not isinstance(given, dict):
        raise TypeError(f"--additional-config is a {type(given).__name__}, not a dict")
    vllm_config.additional_config = {**given, key: value}


def vocab_size(vllm_config: Any) -> int:
    """Ids that the model knows."""
    return int(vllm_config.model_config.get_vocab_size())


def served_model(vllm_config: Any) -> ServedModel:
    """The model that a configuration names."""
    config = vllm_config.model_config
    return ServedModel((config.hf_config, config.hf_text_config), vocab_size(vllm_config))


def metric_labels(vllm_config: Any) -> dict[str, str]:
    """Of the counters of the front end."""
    config = vllm_config.model_config
    served = config.served_model_name
    name = served[0] if isinstance(served, (list, tuple)) else served
    return {"model_name": str(name or config.model)}
