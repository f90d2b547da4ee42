"""Which numbers a backend computes with on this machine: what its reference and its tolerance are chosen by."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from moi_engines.checkpoint import load_config

INT4_BLOCK = 32


class Types(NamedTuple):
    """weights: the type they are rounded to, a key of `parity.TOLERANCES`; arithmetic: the key of the tolerance."""

    weights: str = "float32"
    arithmetic: str = "float32"


def types_here(engine: str, model: Path) -> Types:
    """Of an engine that was loaded without a choice of type."""
    if not torch.cuda.is_available() or (engine == "onnxruntime" and not _onnxruntime_has_cuda()):
        return Types()
    if engine in ("onnxruntime", "tensorrt", "tensorrt_rtx"):
        # They multiply float32 in TF32, whose mantissa is float16's.
        return Types("float32", "float16")
    if engine == "torch":
        return Types("bfloat16", "bfloat16")
    own = load_config(model)[1].dtype
    name = "bfloat16" if own == torch.bfloat16 else "float16"  # SGLang serves float32 models in float16
    return Types(name, name)


@torch.no_grad()
def round_to_int4(decoder: nn.Module, table: Tensor) -> None:
    """Round the weights of linear layers as `moi export --quantize int4`, in place; not a tied output layer.

    Blocks of 32 inputs share a scale: the entry of largest magnitude becomes -8.
    """
    for layer in decoder.modules():
        if isinstance(layer, nn.Linear) and layer.weight is not table:
            layer.weight.copy_(_int4(layer.weight))


def _int4(weight: Tensor) -> Tensor:
    """weight [out,in] after rounding."""
    rows, inputs = weight.shape
    blocks = nn.functional.pad(weight, (0, -inputs % INT4_BLOCK)).reshape(rows, -1, INT4_BLOCK)
    scale = blocks.gather(2, blocks.abs().argmax(2, keepdim=True)) / -8
    steps = (blocks / torch.where(scale == 0, 1.0, scale)).round().clamp(-8, 7)
    return (steps * scale).reshape(rows, -1)[:, :inputs]


def _onnxruntime_has_cuda() -> bool:
    import onnxruntime

    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()
