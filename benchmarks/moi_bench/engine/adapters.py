"""How each engine is made ready to decode a model folder, mixed and plain."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from moi import Mixture, MoIConfig
from moi_bench.engine.transformers_generate import TransformersGenerate
from moi_bench.shapes import SHAPES
from moi_engines import Engine, load_engine
from moi_engines.checkpoint import load_checkpoint
from moi_engines.request import Row
from moi_engines.sampler import sample
from moi_engines.torch_engine import TorchEngine
from moi_eval.memory_check import check_size

TOKEN = MoIConfig("token")


class Pair(NamedTuple):
    """Engines that decode with MoI and plainly, what "plainly" means there, and transformers' own generate."""

    mixed: Engine
    plain: Engine
    baseline: str
    transformers: TransformersGenerate | None = None


class PlainTorchEngine(TorchEngine):
    """A torch engine's model without the op: the sampled token is looked up, and nothing is said of entropy."""

    def __init__(self, mixed: TorchEngine) -> None:
        vars(self).update(vars(mixed))

    def _choose(self, logits: Tensor, rows: list[Row], settings: Any) -> tuple[Tensor, Mixture]:
        noise = torch.tensor([next(row.noise, 0.0) for row in rows], dtype=torch.float32, device=self.device)
        token = sample(logits, settings.sampling, noise)
        one = torch.ones(len(rows), 1, device=self.device)
        return token, Mixture(token[:, None].int(), one, torch.zeros(len(rows), device=self.device))


def _torch(model: Path, scratch: Path, batch: int, positions: int) -> Pair:
    engine = TorchEngine(model, batch_size=batch)
    return Pair(engine, PlainTorchEngine(engine), "the same loop without the op")


def _onnxruntime(model: Path, scratch: Path, batch: int, positions: int) -> Pair:
    from moi_engines.onnx_export import export
    from moi_onnx.options import ExportOptions

    engines = []
    for mixing in (True, False):
        options = ExportOptions(max_length=positions, mixing=mixing)
        folder = export(model, scratch / f"onnx-{mixing}", options, force=True)
        # As many threads as torch: the pools of both sessions would otherwise spin against each other.
        engines.append(load_engine("onnxruntime", folder, batch_size=batch, threads=torch.get_num_threads()))
    return Pair(engines[0], engines[1], "a graph exported without the op")


def _tensorrt(name: str, runtime: str) -> Callable[[Path, Path, int, int], Pair]:
    def make(model: Path, scratch: Path, batch: int, positions: int) -> Pair:
        from moi_compile.compile import CompileOptions, compile_engine
        from moi_engines.onnx_export import export
        from moi_onnx.options import ExportOptions

        folder = export(model, scratch / name, ExportOptions(max_length=positions), force=True)
        chip = ".".join(map(str, torch.cuda.get_device_capability()))
        chips = (chip,) if runtime == "tensorrt-rtx" else ()
        compile_engine(folder, folder / "model.engine", CompileOptions(runtime, chips, max_batch=batch))
        engine = load_engine(name, folder)
        return Pair(engine, engine, "the same engine, rows of policy token")

    return make


def _sglang(model: Path, scratch: Path, batch: int, positions: int) -> Pair:
    from moi_bench.engine.plain_sglang import PlainSGLangEngine
    from moi_engines.sglang_engine import RESERVED, SGLangEngine

    context = positions + RESERVED
    options: dict[str, Any] = {"context_length": context, "max_running_requests": batch, "log_level": "error"}
    if not any(model.glob("*.safetensors")):
        options["load_format"] = "dummy"
    if not torch.cuda.is_available():
        options["max_total_tokens"] = batch * context
    engine = SGLangEngine(model, **options)
    return Pair(engine, PlainSGLangEngine(engine), "the same server, plain requests that report nothing")


ADAPTERS: dict[str, Callable[[Path, Path, int, int], Pair]] = {
    "torch": _torch,
    "onnxruntime": _onnxruntime,
    "sglang": _sglang,
    "tensorrt": _tensorrt("tensorrt", "tensorrt"),
    "tensorrt_rtx": _tensorrt("tensorrt_rtx", "tensorrt-rtx"),
}
MAKES_WEIGHTS_IN_PLACE = ("sglang",)


def with_transformers(pair: Pair, model: Path) -> Pair:
    """The pair beside `generate`, for engines that run in this process on the same device and threads."""
    if isinstance(pair.mixed, TorchEngine):
        return pair._replace(transformers=TransformersGenerate(pair.mixed.checkpoint.model))
    if pair.mixed.name == "onnxruntime" and not torch.cuda.is_available():
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
