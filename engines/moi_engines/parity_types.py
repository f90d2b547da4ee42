"""Which numbers a backend computes with on this machine: what its reference and its tolerance are chosen by."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

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
def round_to_int4(decoder: PreTrainedModel) -> None:
    """Round the weights of linear layers as `moi export --quantize int4`, in place; not the output layer's."""
    output = decoder.get_output_embeddings()
    for layer in decoder.modules():
        if isinstance(layer, nn.Linear) and layer is not output:
            layer.weight.copy_(int4(layer.weight))


def int4(weight: Tensor) -> Tensor:
    """weight [out,in], float32, after rounding, bit for bit as ONNX Runtime's quantizer.

    Blocks of 32 inputs share a scale: the entry of largest magnitude becomes -8, of two that differ in sign the
    negative one. Halves round up. Weights that were quantized before are full of such ties and halves.
    """
    rows, inputs = weight.shape
    blocks = nn.functional.pad(weight, (0, -inputs % INT4_BLOCK)).reshape(rows, -1, INT4_BLOCK)
    least, most = blocks.aminmax(dim=2, keepdim=True)
    scale = torch.where(most > -least, most, least) / -8
    # In float32, as it is there: what is within its rounding of a half is one.
    steps = blocks * torch.where(scale == 0, 0.0, 1 / scale) + 8
    steps = (steps.double() + 0.5).floor().clamp(0, 15).float() - 8
    return (steps * scale).reshape(rows, -1)[:, :inputs]
