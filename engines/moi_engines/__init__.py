"""Runtimes that this project drives, behind one protocol."""

from pathlib import Path
from typing import Any

from moi_engines.protocol import Engine, Generation, SamplingParams, TokenEvent
from moi_engines.registry import ENGINES, EngineSpec


def load_engine(name: str, model: str | Path, **options: Any) -> Engine:
    """The named engine on a model; options as the engine's class documents them.

    model  a folder, a hub id or a GGUF file; for engines that read exported folders one made by `moi export`

    Raises ValueError for an unknown engine, or for an option that the engine does not have.
    """
    return ENGINES[name].make(model, **options)


def embedded_model() -> Path:
    """The folder of the model that ships with the project: a small Countdown solver."""
    return Path(__file__).parent / "models" / "countdown"


__all__ = [
    "ENGINES",
    "Engine",
    "EngineSpec",
    "Generation",
    "SamplingParams",
    "TokenEvent",
    "embedded_model",
    "load_engine",
]
