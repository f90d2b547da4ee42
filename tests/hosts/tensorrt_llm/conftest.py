"""TensorRT-LLM by its recorded declarations."""

from __future__ import annotations

from types import ModuleType

import pytest

import tensorrt_llm_recorded
from moi_tensorrt_llm import contract


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """Its modules as `sys.modules` holds them for this test, at the version that was recorded."""
    monkeypatch.setattr(contract, "version", lambda name: "1.2.1")
    return tensorrt_llm_recorded.install(monkeypatch)
