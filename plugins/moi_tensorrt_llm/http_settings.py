"""Settings of requests over HTTP: an experiment, off unless MOI_TENSORRT_LLM_HTTP=1.

trtllm-serve cannot be sent a logits processor. It does hand `mm_processor_kwargs` of a chat request to the model's
input processor, with the sampling parameters: there the settings under "moi" become a processor. Text prompts only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from moi_serving.settings import KEY, RequestSettings, ServerSettings, request_settings
from moi_tensorrt_llm.processor import logits_processors
from moi_tensorrt_llm.worker import worker_state

VARIABLE = "MOI_TENSORRT_LLM_HTTP"
_FIELD = "mm_processor_kwargs"


def take_settings(models: Iterable[type]) -> None:
    """Chat requests for these model classes may bring settings: by the host's own registry of input processors."""
    from tensorrt_llm.inputs.registry import INPUT_PROCESSOR_REGISTRY, DefaultInputProcessor

    processor = with_settings(DefaultInputProcessor)
    for model in models:
        INPUT_PROCESSOR_REGISTRY._input_processors_cls_by_model_type[model] = processor


def with_settings(host: type) -> type:
    """A subclass of an input processor that takes "moi" out of its inputs. ValueError for bad settings."""

    class WithSettings(host):  # type: ignore[misc]
        def __call__(self, inputs: Any, sampling_params: Any, *args: Any, **kwargs: Any) -> Any:
            if isinstance(inputs, Mapping) and KEY in (given := inputs.get(_FIELD) or {}):
                _attach(sampling_params, given)
                rest = {key: value for key, value in given.items() if key != KEY}
                inputs = {**inputs, _FIELD: rest}
            return super().__call__(inputs, sampling_params, *args, **kwargs)

    return WithSettings


def _attach(params: Any, given: Mapping[str, Any]) -> None:
    settings = request_settings(given, ServerSettings(worker_state().settings.moi))
    _check(settings)
    temperature = 1.0 if params.temperature is None else params.temperature
    theirs = params.logits_processor
    others = theirs if isinstance(theirs, list) else [] if theirs is None else [theirs]
    params.logits_processor = logits_processors(
        settings.moi, temperature, settings.seed or 0, others=others, n=params.n or 1
    )


def _check(settings: RequestSettings) -> None:
    """ValueError for what other hosts can and this one cannot."""
    for name, value in (("until", settings.mix_until), ("per_token", settings.per_token or None)):
        if value is not None:
            raise ValueError(f"{name}={value!r} is not allowed; TensorRT-LLM mixes to the end and reports nothing")
    if settings.policy.draws and settings.seed is None:
        raise ValueError(f"policy={settings.moi.policy!r} needs a seed")
