"""Settings that come with a chat request, without TensorRT-LLM: recorded declarations stand in."""

from __future__ import annotations

import importlib
import pickle
from types import ModuleType
from typing import Any

import pytest

import tensorrt_llm_recorded
from moi import MoIConfig
from moi_tensorrt_llm import http_settings, registration
from moi_tensorrt_llm.http_settings import with_settings
from tensorrt_llm_recorded import SamplingParams


class Host:
    """As DefaultInputProcessor: gives back what it was given."""

    def __call__(self, inputs: Any, sampling_params: Any) -> Any:
        return inputs, sampling_params


def call(moi: Any, **params: Any) -> Any:
    inputs = {"prompt": "1 2 > 3 :", "mm_processor_kwargs": {"moi": moi, "other": 1}}
    seen, sampling = with_settings(Host)()(inputs, SamplingParams(**params))
    assert seen == {"prompt": "1 2 > 3 :", "mm_processor_kwargs": {"other": 1}}
    assert inputs["mm_processor_kwargs"]["moi"] is moi, "the caller's own stays"
    return sampling.logits_processor


def test_settings_become_a_processor(host: dict[str, ModuleType]) -> None:
    for params, temperature in (({"temperature": 0.5}, 0.5), ({}, 1.0)):
        (processor,) = pickle.loads(pickle.dumps(call({"policy": "gumbel", "tau": 2, "seed": 7}, **params)))
        assert processor.config == MoIConfig("gumbel", tau=2)
        assert (processor.temperature, processor.seed) == (temperature, 7)
    other = object()
    for theirs in (other, [other]):
        ours, kept = call({"beta": 2}, logits_processor=theirs)
        assert ours.config == MoIConfig(beta=2)
        assert kept is other


def test_requests_without_settings_pass_as_they_are(host: dict[str, ModuleType]) -> None:
    for inputs in ({"prompt": "a"}, {"prompt": "a", "mm_processor_kwargs": {"other": 1}}, "a"):
        params = SamplingParams()
        seen, sampling = with_settings(Host)()(inputs, params)
        assert seen is inputs
        assert sampling is params
        assert sampling.logits_processor is None


@pytest.mark.parametrize(
    ("moi", "message"),
    [
        ({"beta": -1}, "beta=-1"),
        ({"top_k": 5}, "moi key 'top_k' is a setting of the server"),
        ({"until": "think_end"}, "until='think_end' is not allowed; TensorRT-LLM mixes to the end"),
        ({"per_token": True}, "per_token=True is not allowed"),
        ({"policy": "gumbel"}, "policy='gumbel' needs a seed"),
        ([1], r"custom_params\['moi'\]=\[1\] is not allowed"),
    ],
)
def test_bad_settings_are_refused(host: dict[str, ModuleType], moi: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(moi)


@pytest.mark.parametrize("switch", ["1", "0", ""])
def test_it_is_off_unless_asked_for(host: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch, switch: str) -> None:
    monkeypatch.setenv(http_settings.VARIABLE, switch)
    registry = tensorrt_llm_recorded.INPUT_PROCESSOR_REGISTRY._input_processors_cls_by_model_type
    registry.clear()
    registration.register_models()
    ours = importlib.import_module("moi_tensorrt_llm.registered_models")
    expected = [getattr(ours, name) for name in registration.ARCHITECTURES] if switch == "1" else []
    assert list(registry) == expected
    assert all(issubclass(each, tensorrt_llm_recorded.DefaultInputProcessor) for each in registry.values())
