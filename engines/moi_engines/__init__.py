"""Runtimes that this project drives, behind one protocol."""

import inspect
from pathlib import Path
from typing import Any

from moi.registry import Registry
from moi_engines.protocol import Engine, Generation, SamplingParams, TokenEvent

ENGINES = Registry(
    "engine",
    {
        "torch": "moi_engines.torch_engine:TorchEngine",
        "onnxruntime": "moi_engines.onnx_engine:ONNXEngine",
        "sglang": "moi_engines.sglang_engine:SGLangEngine",
        "tensorrt": "moi_engines.tensorrt_engine:TensorRTEngine",
        "tensorrt_rtx": "moi_engines.tensorrt_engine:TensorRTRTXEngine",
    },
)


def load_engine(name: str, model: str | Path, **options: Any) -> Engine:
    """The named engine on a model; options as the engine's class documents them.

    model  for torch and sglang a folder, a hub id or a GGUF file; for the others a folder made by `moi export`

    Raises ValueError for an option that the engine does not have.
    """
    made = ENGINES[name]
    known = inspect.signature(made).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in known.values()):
        for key in options:
            if key not in known:
                allowed = ", ".join(key for key, p in known.items() if p.kind is p.KEYWORD_ONLY)
                raise ValueError(f"{key} is not an option of the engine {name}; its options: {allowed}")
    engine: Engine = made(model, **options)
    return engine


def embedded_model() -> Path:
    """The folder of the model that ships with the project: a small Countdown solver."""
    return Path(__file__).parent / "models" / "countdown"


__all__ = [
    "ENGINES",
    "Engine",
    "Generation",
    "SamplingParams",
    "TokenEvent",
    "embedded_model",
    "load_engine",
]
