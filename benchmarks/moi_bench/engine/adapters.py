"""How each engine is made ready to decode a model folder, mixed and plain."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch

from moi import MoIConfig
from moi_bench.engine.transformers_generate import TransformersGenerate
from moi_bench.shapes import SHAPES
from moi_engines import Engine, EngineSpec
from moi_engines.checkpoint import load_checkpoint
from moi_engines.registry import Workload
from moi_engines.torch_engine import TorchEngine
from moi_eval.memory_check import check_size

TOKEN = MoIConfig("token")


class Pair(NamedTuple):
    """Engines that decode with MoI and plainly, what "plainly" means there, and transformers' own generate."""

    mixed: Engine
    plain: Engine
    baseline: str
    transformers: TransformersGenerate | None = None


def make_pair(spec: EngineSpec, model: Path, scratch: Path, workload: Workload) -> Pair:
    """The engine, and plain decoding as cheap as its runtime can do it."""
    mixed = _made(spec, model, scratch, workload)
    plain = _made(spec, model, scratch, workload._replace(mixing=False)) if spec.plain_folder else mixed.plain()
    return Pair(mixed, plain, spec.baseline)


def _made(spec: EngineSpec, model: Path, scratch: Path, workload: Workload) -> Engine:
    folder = spec.prepare(model, scratch, workload)
    return spec.make(folder, **spec.tuned(folder, workload))


def with_transformers(pair: Pair, spec: EngineSpec, model: Path) -> Pair:
    """The pair beside `generate`, for engines that run in this process on the same device and threads."""
    if isinstance(pair.mixed, TorchEngine):
        return pair._replace(transformers=TransformersGenerate(pair.mixed.checkpoint.model))
    if spec.in_process and not torch.cuda.is_available():
        checkpoint = load_checkpoint(model, torch.device("cpu"), torch.float32)
        return pair._replace(transformers=TransformersGenerate(checkpoint.model))
    return pair


def make_dummy(name: str, folder: Path) -> Path:
    """A folder without weights, for engines that make random ones in place; ValueError if memory is short of them."""
    from transformers import AutoConfig

    from moi_engines.testing import save_tiny_model

    shape = SHAPES[name]
    check_size(name, shape.billions * 1e9, dtype="bfloat16")
    save_tiny_model(folder, shape.architecture)
    kind = {"gemma3": "gemma3_text"}.get(shape.architecture, shape.architecture)
    architecture = {"gemma3_text": "Gemma3ForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}[kind]
    config = AutoConfig.for_model(kind, **{"pad_token_id": 0, "eos_token_id": 1, **shape.fields})
    config.architectures, config.dtype = [architecture], torch.bfloat16
    config.save_pretrained(folder)
    for weights in folder.glob("*.safetensors"):
        weights.unlink()
    return folder
