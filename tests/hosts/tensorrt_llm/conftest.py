"""TensorRT-LLM by its recorded declarations."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

import tensorrt_llm_recorded
from moi_tensorrt_llm import contract
from moi_tensorrt_llm.server_settings import DEFAULT_VARIABLES, REPLAY_VARIABLES
from moi_tensorrt_llm.worker import worker_state
from tensorrt_llm_recorded import AttentionMetadata


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """Its modules as `sys.modules` holds them for this test, at the version that was recorded."""
    monkeypatch.setattr(contract, "version", lambda name: "1.2.1")
    for variable in (*DEFAULT_VARIABLES, *REPLAY_VARIABLES):
        monkeypatch.delenv(variable, raising=False)
    worker_state.cache_clear()
    monkeypatch.delitem(sys.modules, "moi_tensorrt_llm.registered_models", raising=False)
    for backend in ("TrtllmAttention", "FlashInferAttention", "VanillaAttention"):  # restored after the test
        monkeypatch.setattr(getattr(tensorrt_llm_recorded, backend), "Metadata", AttentionMetadata)
    return tensorrt_llm_recorded.install(monkeypatch)
