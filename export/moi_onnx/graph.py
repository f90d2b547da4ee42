"""The decode step of a loaded model as an ONNX graph."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor

from moi.policies.declaration import uniform_count
from moi.rows import parameter_count
from moi_onnx.architectures import cache_shape
from moi_onnx.caches import onnx_attention
from moi_onnx.exporter import to_onnx
from moi_onnx.functions import add_functions, inline, mix_embed_function, mix_inputs_function
from moi_onnx.options import ExportOptions
from moi_onnx.step import RESULTS, SETTINGS, ConcatStep, StaticStep, Step
from moi_onnx.tensors import SETTING_DTYPES

_ATTENTION = "moi_onnx"


def step_graph(model: Any, scale: Tensor | None, options: ExportOptions) -> ir.Model:
    """The graph of one step; the model's attention is switched to the exporter's and back."""
    from transformers import AttentionInterface

    AttentionInterface.register(_ATTENTION, onnx_attention)
    before = model.config._attn_implementation
    model.set_attn_implementation(_ATTENTION)
    try:
        kind = StaticStep if options.variant == "static" else ConcatStep
        step = kind(model, scale, options)
        layers = model.config.num_hidden_layers
        exported = to_onnx(
            step,
            _example(step, options),
            [*step.inputs, *cache_names("past_key_values", layers), *SETTINGS],
            [*RESULTS, *cache_names("present", layers)],
            _dims(layers, options),
            options.opset,
        )
    finally:
        model.set_attn_implementation(before)
    _complete(exported, step, options)
    return exported


def cache_names(prefix: str, layers: int) -> list[str]:
    """Names of the keys and values of all layers, in the order of a graph's inputs and outputs."""
    return [f"{prefix}.{layer}.{kind}" for layer in range(layers) for kind in ("key", "value")]


def _complete(exported: ir.Model, step: Step, options: ExportOptions) -> None:
    dtype = step.model.dtype
    functions = [mix_embed_function(options.opset, dtype)]
    if options.mixing:
        width = step.sampler.candidates
        functions.append(mix_inputs_function(options.moi, step.vocab, options.opset, dtype, width))
    add_functions(exported, functions)
    if options.functions == "inline":
        inline(exported)
    for node in exported.graph:
        node.metadata_props.clear()


def _example(step: StaticStep | ConcatStep, options: ExportOptions) -> tuple[Any, ...]:
    rows, length, slots, config = 2, 3, 4, step.model.config
    heads, width = cache_shape(config)
    columns = options.max_length if options.variant == "static" else 5

    def empty() -> Tensor:
        """One element expanded: a cache of the real length would cost memory."""
        return torch.zeros(1, 1, 1, 1, dtype=step.model.dtype).expand(rows, heads, columns, width)

    # Each input is a tensor of its own: the exporter takes the same tensor twice for one input.
    past = [(empty(), empty()) for _ in range(config.num_hidden_layers)]
    if options.variant == "static":
        place = (torch.zeros(rows, dtype=torch.int64), torch.full((rows,), length - 1))
    else:
        place = (torch.ones(rows, columns + length, dtype=torch.int64), torch.arange(length).repeat(rows, 1))
    types = [getattr(torch, SETTING_DTYPES.get(name, "float32")) for name in SETTINGS]
    widths = {"parameters": (parameter_count(),), "uniforms": (uniform_count(options.moi.top_k),)}
    settings = tuple(
        torch.ones(rows, *widths.get(name, ()), dtype=dtype) for name, dtype in zip(SETTINGS, types, strict=True)
    )
    mixtures = (torch.zeros(rows, length, slots, dtype=torch.int32), torch.ones(rows, length, slots))
    return (*mixtures, *place, past, *settings)


def _dims(layers: int, options: ExportOptions) -> tuple[Any, ...]:
    rows, mixture = {0: "batch"}, {0: "batch", 1: "sequence", 2: "slots"}
    if options.variant == "static":
        place, cache = (rows, rows), rows
    else:
        place = ({0: "batch", 1: "total"}, {0: "batch", 1: "sequence"})
        cache = {0: "batch", 2: "past"}
    return (mixture, mixture, *place, [(cache, cache)] * layers, (rows,) * len(SETTINGS))
