"""TensorRT-LLM by its recorded declarations."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

import tensorrt_llm_recorded
from moi_tensorrt_llm import contract, model


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """Its modules as `sys.modules` holds them for this test, at the version that was recorded."""
    monkeypatch.setattr(contract, "version", lambda name: "1.2.1")
    for variable in model.DEFAULT_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.delitem(sys.modules, "moi_tensorrt_llm.registered_models", raising=False)
    return tensorrt_llm_recorded.install(monkeypatch)
