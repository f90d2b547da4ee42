"""Which numbers a backend computes with on this machine: what its reference and its tolerance are chosen by."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from moi_engines.registry import EngineSpec

INT4_BLOCK = 32


class Types(NamedTuple):
    """weights: the type they are rounded to, a key of `parity.TOLERANCES`; arithmetic: the key of the tolerance."""

    weights: str = "float32"
    arithmetic: str = "float32"


def types_here(spec: EngineSpec, model: Path) -> Types:
    """Of an engine that was loaded without a choice of type."""
    return Types() if spec.types is None else spec.types(model)


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
