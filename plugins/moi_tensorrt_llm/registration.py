"""Registration with TensorRT-LLM: mixed models under the architectures' own names, attention backends tracked."""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
from typing import Any

from moi_tensorrt_llm.contract import ATTENTION_BACKENDS, require_contract
from moi_tensorrt_llm.metadata import track
from moi_tensorrt_llm.model import mixed
from moi_tensorrt_llm.worker import worker_state

# Architectures whose models start from embed_tokens(input_ids) and nothing else.
ARCHITECTURES = {
    "LlamaForCausalLM": "tensorrt_llm._torch.models.modeling_llama",
    "Qwen2ForCausalLM": "tensorrt_llm._torch.models.modeling_qwen",
    "Qwen3ForCausalLM": "tensorrt_llm._torch.models.modeling_qwen3",
}
_REGISTERED = "moi_tensorrt_llm.registered_models"


def register_models() -> list[str]:
    """Register the mixed classes under the architectures' own names, once in a process; the names.

    Raises RuntimeError if this TensorRT-LLM differs from the recorded contract, ValueError for a bad setting of the
    server (`moi_tensorrt_llm.server_settings`).
    """
    importlib.import_module(_REGISTERED)
    return list(ARCHITECTURES)


def mixed_models() -> dict[str, type]:
    """The mixed classes by architecture, as `registered_models` holds them; raises what `register_models` does."""
    require_contract()
    state, classes = worker_state(), dict[str, type]()
    for places in ATTENTION_BACKENDS.values():
        _track(places)
    for name, module in ARCHITECTURES.items():
        classes[name] = mixed(getattr(importlib.import_module(module), name), state)
        classes[name].__module__ = _REGISTERED
    return classes


def register(name: str, model: type) -> type:
    """A class for an architecture, in place of the host's own; the class."""
    from tensorrt_llm._torch.models.modeling_utils import register_auto_model

    registered: type = register_auto_model(name)(model)
    return registered


def _track(places: tuple[str, ...]) -> None:
    """A backend that cannot be imported cannot be chosen either, and the models refuse one that is not tracked."""
    if (backend := found(places)) is not None:
        track(backend, worker_state())


def found(places: tuple[str, ...]) -> Any:
    """What is there first; None if nothing can be imported."""
    for place in places:
        with contextlib.suppress(ImportError, AttributeError):
            return pkgutil.resolve_name(place)
    return None
