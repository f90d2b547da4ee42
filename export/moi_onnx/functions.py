"""Torch modules as ONNX functions: nodes of domain "moi" that carry their own body.

ONNX Runtime and TensorRT-RTX run the body; TensorRT takes the plugin that the node's attributes name.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import onnx_ir as ir
import torch

from moi import MoIConfig, RowParams, load_policies
from moi.policies import Policy
from moi.policies.declaration import uniform_count
from moi_onnx.exporter import to_onnx
from moi_onnx.ops import MixEmbed, MixInputs

DOMAIN = "moi"
DOMAIN_VERSION = 1
PLUGIN: dict[str, Any] = {"plugin_namespace": "moi", "plugin_version": "1"}

Functions = Literal["keep", "inline"]
Attributes = Mapping[str, Any]  # int or str

_MIX_INPUTS = ["logits", "token", *RowParams._fields]
_MIX_OUTPUTS = ["mix_ids", "mix_weights", "entropy"]
_EMBED_INPUTS = ["mix_ids", "mix_weights", "table"]


def mix_attributes(config: MoIConfig) -> dict[str, Any]:
    """Attributes of a moi::MixInputs node: what its body computes, and the plugin that may replace it."""
    return {**PLUGIN, "top_k": config.top_k, "entropy": config.entropy, "prior": config.prior}


def mix_inputs_function(
    config: MoIConfig, vocab: int | None, opset: int, dtype: torch.dtype = torch.float32, width: int = 0
) -> ir.Function:
    """moi::MixInputs for logits [B,vocab] of `dtype`; None leaves the vocabulary's size open; width as `MixInputs`."""
    graph = _mix_inputs_model(config, vocab, opset, dtype, width).graph
    return as_function("MixInputs", graph, mix_attributes(config))


def mix_embed_function(opset: int, dtype: torch.dtype = torch.float32) -> ir.Function:
    """moi::MixEmbed for tables of `dtype`, any V and D."""
    return as_function("MixEmbed", _mix_embed_model(opset, dtype).graph, PLUGIN)


def mix_inputs_model(
    config: MoIConfig,
    vocab: int | None = None,
    opset: int = 24,
    dtype: torch.dtype = torch.float32,
    functions: Functions = "keep",
) -> ir.Model:
    """The op alone, as a model: logits, token and the fields of `moi.RowParams` to mix_ids, mix_weights, entropy."""
    model = _mix_inputs_model(config, vocab, opset, dtype)
    if functions == "inline":
        return model
    return _wrapped(model, "MixInputs", mix_attributes(config))


def mix_embed_model(opset: int = 24, dtype: torch.dtype = torch.float32, functions: Functions = "keep") -> ir.Model:
    """The embedding alone, as a model: (mix_ids, mix_weights, table) -> x [B,T,D]."""
    model = _mix_embed_model(opset, dtype)
    return model if functions == "inline" else _wrapped(model, "MixEmbed", PLUGIN)


def as_function(name: str, graph: ir.Graph, attributes: Attributes) -> ir.Function:
    """The graph as a function; initializers, which functions cannot have, become Constant nodes."""
    first = graph[0]
    for value in list(graph.initializers.values()):
        constant = ir.node("Constant", [], attributes={"value": value.const_value})
        constant.outputs[0].name = f"{value.name}_constant"
        constant.outputs[0].type, constant.outputs[0].shape = value.type, value.shape
        graph.insert_before(first, constant)
        ir.convenience.replace_all_uses_with(value, constant.outputs[0])
        graph.initializers.pop(str(value.name))
    for node in graph:
        node.metadata_props.clear()
    return ir.Function(DOMAIN, name, "", graph=graph, attributes=ir_attributes(attributes))


def ir_attributes(attributes: Attributes) -> list[ir.Attr]:
    """As nodes and functions take them."""
    return [
        ir.AttrInt64(key, value) if isinstance(value, int) else ir.AttrString(key, value)
        for key, value in attributes.items()
    ]


def add_functions(model: ir.Model, functions: Sequence[ir.Function]) -> None:
    """To a model, with the version of their domain."""
    for function in functions:
        model.functions[function.identifier()] = function
    model.graph.opset_imports[DOMAIN] = DOMAIN_VERSION


def inline(model: ir.Model) -> None:
    """Replace the nodes of domain "moi" by their bodies, in place."""
    from onnx_ir.passes.common import InlinePass

    InlinePass()(model)
    model.graph.opset_imports.pop(DOMAIN, None)


def _wrapped(model: ir.Model, name: str, attributes: Attributes) -> ir.Model:
    """A model with the inputs and outputs of `model` and one node: the function of that name."""
    graph = model.graph
    inputs, outputs = _detached(graph.inputs), _detached(graph.outputs)
    node = ir.Node(DOMAIN, name, inputs, ir_attributes(attributes), outputs=outputs)
    opset = {"": graph.opset_imports[""]}
    wrapper = ir.Graph(inputs, outputs, nodes=[node], opset_imports=opset, name=name)
    wrapped = ir.Model(wrapper, ir_version=model.ir_version)
    add_functions(wrapped, [as_function(name, graph, attributes)])
    return wrapped


def _detached(values: Sequence[ir.Value]) -> list[ir.Value]:
    return [ir.Value(name=value.name, type=value.type, shape=value.shape) for value in values]


def _mix_inputs_model(config: MoIConfig, vocab: int | None, opset: int, dtype: torch.dtype, width: int = 0) -> ir.Model:
    shared = MoIConfig(top_k=config.top_k, entropy=config.entropy, prior=config.prior)
    model: ir.Model = ir.from_proto(_mix_inputs_proto(shared, vocab, opset, dtype, width, load_policies()))
    return model


@functools.lru_cache(maxsize=32)
def _mix_inputs_proto(
    config: MoIConfig, vocab: int | None, opset: int, dtype: torch.dtype, width: int, policies: tuple[Policy, ...]
) -> Any:
    """Traced once in a process, for seconds: it is the same for all models of a vocabulary."""
    rows = 3
    logits = {0: "batch"} if vocab else {0: "batch", 1: "vocab"}
    example = (
        torch.zeros(rows, vocab or max(config.top_k + 7, 50), dtype=dtype),
        torch.zeros(rows, dtype=torch.int64),
        *RowParams.of([config] * rows, [1.0] * rows)[:-1],
        torch.zeros(rows, uniform_count(config.top_k)),
    )
    dims = [logits, *[{0: "batch"}] * (len(example) - 1)]
    return ir.to_proto(to_onnx(MixInputs(config, width), example, _MIX_INPUTS, _MIX_OUTPUTS, dims, opset))


def _mix_embed_model(opset: int, dtype: torch.dtype) -> ir.Model:
    model: ir.Model = ir.from_proto(_mix_embed_proto(opset, dtype))
    return model


@functools.lru_cache(maxsize=32)
def _mix_embed_proto(opset: int, dtype: torch.dtype) -> Any:
    slots = {0: "batch", 1: "sequence", 2: "slots"}
    example = (torch.zeros(2, 3, 4, dtype=torch.int32), torch.zeros(2, 3, 4), torch.zeros(11, 8, dtype=dtype))
    dims = [slots, slots, {0: "vocab", 1: "width"}]
    return ir.to_proto(to_onnx(MixEmbed(), example, _EMBED_INPUTS, ["x"], dims, opset))
