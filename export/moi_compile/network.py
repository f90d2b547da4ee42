"""A parsed network: read from an exported folder, checked to be ours, and its optimisation profiles."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from moi_compile.runtimes import Runtime
from moi_compile.sidecar import PROFILES, Profile
from moi_compile.tensors import Range, dtype_name
from moi_onnx.loop import PREFILL
from moi_onnx.manifest import Manifest
from moi_onnx.tensors import Facts
from moi_tensorrt.plugin import PLUGIN_ID, register


def check_folder(folder: Path) -> Path:
    """The graph of an exported folder; FileNotFoundError that says what is missing and how to make it."""
    if not folder.is_dir():
        raise FileNotFoundError(f"export folder {folder} does not exist")
    for name in ("model.onnx", "moi_config.json"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} has no {name}: it is not an export; make one with: moi export MODEL DIR")
    return folder / "model.onnx"


def create_network(trt: Any, chosen: Runtime, builder: Any) -> tuple[Any, str | None]:
    """An empty network and the plugin its parser will take: TensorRT's; TensorRT-RTX runs the function bodies."""
    if chosen.name != "tensorrt":
        return builder.create_network(0), None
    register()
    flags = trt.NetworkDefinitionCreationFlag
    wanted = [getattr(flags, name, None) for name in ("STRONGLY_TYPED", "PREFER_AOT_PYTHON_PLUGINS")]
    return builder.create_network(sum(1 << int(flag) for flag in wanted if flag is not None)), PLUGIN_ID


def parse(trt: Any, network: Any, graph: Path, logger: Any) -> None:
    """ValueError with the parser's own words."""
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(graph)):
        reasons = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))
        raise ValueError(f"{graph} cannot be compiled: {reasons}")


def allow_decomposition(trt: Any, network: Any) -> None:
    """Let attention fall back to several kernels where no fused one fits, e.g. float32 or odd head widths.

    Fused attention is still preferred. Without this the build fails for such models.
    """
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.type == trt.LayerType.ATTENTION_INPUT:
            layer.__class__ = trt.IAttentionInputLayer  # the bindings hand out the base class
            layer.attention.decomposable = True


def network_facts(network: Any) -> dict[str, Facts]:
    """Of inputs and outputs, by name; ValueError for an element type that no loop here could hold."""
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    outputs = [network.get_output(i) for i in range(network.num_outputs)]
    return {
        tensor.name: Facts(dtype_name(tensor), tuple(None if size == -1 else size for size in tensor.shape))
        for tensor in (*inputs, *outputs)
    }


def layer_types(network: Any) -> dict[str, int]:
    """How many layers of each type the parser made."""
    return dict(sorted(Counter(network.get_layer(i).type.name for i in range(network.num_layers)).items()))


def profile_of(manifest: Manifest, max_batch: int, max_prompt: int | None) -> Profile:
    """The profile for these limits; ValueError if the export is not a static step or the limits do not fit it."""
    max_length = manifest.max_length
    if max_length is None:
        raise ValueError("the graph has no static cache; export with --variant static")
    longest = max_length - 1 if max_prompt is None else max_prompt
    if max_batch < 1:
        raise ValueError(f"max-batch={max_batch} is not allowed; max-batch must be an integer >= 1")
    if not 1 <= longest < max_length:
        raise ValueError(f"max-prompt={max_prompt} is not allowed; the export has {max_length} positions")
    return Profile(max_batch, longest, max_length, manifest.slots)


def input_ranges(network: Any, profile: Profile) -> dict[str, dict[str, Range]]:
    """By profile and input, what shapes each takes: a prompt has one slot a position, a step one position a row."""
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    return {
        name: {tensor.name: _range(tuple(tensor.shape), profile, name == PREFILL) for tensor in inputs}
        for name in PROFILES
    }


def _range(shape: tuple[int, ...], profile: Profile, prompt: bool) -> Range:
    length = (1, min(128, profile.max_prompt), profile.max_prompt) if prompt else (1, 1, 1)
    slots = (1, 1, 1) if prompt else (1, profile.slots, profile.slots)
    batch = (1, profile.max_batch, profile.max_batch)
    open_sizes = iter((batch, length, slots))
    sizes = [next(open_sizes) if size == -1 else (size,) * 3 for size in shape]
    return Range(*(tuple(size[i] for size in sizes) for i in range(3)))


def add_profiles(builder: Any, config: Any, ranges: dict[str, dict[str, Range]]) -> None:
    """One profile each, in the order of their numbers."""
    for name in sorted(PROFILES, key=PROFILES.__getitem__):
        profile = builder.create_optimization_profile()
        for tensor, own in ranges[name].items():
            profile.set_shape(tensor, own.min, own.opt, own.max)
        config.add_optimization_profile(profile)
