"""Tensors of a step as a loop has to bind them: read from the network that is compiled, and checked in its engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Shape = tuple[int, ...]

# Of TensorRT, by the names that everybody else has for them.
DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "BF16": "bfloat16",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
}


@dataclass(frozen=True)
class Range:
    """Shapes of an input that a profile takes, its least and largest, and the one it is fastest at."""

    min: Shape
    opt: Shape
    max: Shape


@dataclass(frozen=True)
class TensorSpec:
    """An input or output.

    dtype     as of `DTYPES`
    shape     numbers, and names where a size is open: "batch" rows, "sequence" positions of a call, "slots" of a
              mixture; one name is one size throughout a call
    profiles  of an input, by the profile's name; outputs have none
    """

    name: str
    direction: Literal["input", "output"]
    dtype: str
    shape: tuple[int | str, ...]
    profiles: dict[str, Range]


def network_tensors(network: Any, ranges: dict[str, dict[str, Range]]) -> tuple[TensorSpec, ...]:
    """All of a network, inputs first, each input with its `ranges[profile][name]`.

    Raises ValueError for an open size without a name, or an element type that no loop here could hold.
    """
    given = (network.get_input(i) for i in range(network.num_inputs))
    made = (network.get_output(i) for i in range(network.num_outputs))
    inputs = [
        TensorSpec(
            tensor.name,
            "input",
            dtype_name(tensor),
            _shape(tensor, [tensor.get_dimension_name(axis) for axis in range(len(tensor.shape))]),
            {profile: own[tensor.name] for profile, own in ranges.items()},
        )
        for tensor in given
    ]
    # The parser names no sizes of outputs. A static step leaves the rows open and nothing else.
    outputs = [TensorSpec(tensor.name, "output", dtype_name(tensor), _shape(tensor, ["batch"]), {}) for tensor in made]
    return (*inputs, *outputs)


def network_aliases(trt: Any, network: Any) -> dict[str, str]:
    """Outputs that are written into the memory of an input, with that input: TensorRT wants one address for both."""
    updates = (network.get_layer(i) for i in range(network.num_layers))
    return {
        layer.get_output(0).name: layer.get_input(0).name
        for layer in updates
        if layer.type == trt.LayerType.KV_CACHE_UPDATE
    }


def dtype_name(tensor: Any) -> str:
    """Of `DTYPES`; ValueError for an element type that no loop here could hold."""
    if tensor.dtype.name not in DTYPES:
        raise ValueError(f"{tensor.name} has type {tensor.dtype.name}; allowed: {', '.join(DTYPES)}")
    return DTYPES[tensor.dtype.name]


def engine_differences(
    engine: Any, tensors: tuple[TensorSpec, ...], aliases: dict[str, str], profiles: dict[str, int]
) -> list[str]:
    """What an engine says of itself that the description does not, in words; `profiles` are names and numbers."""
    found = {engine.get_tensor_name(i) for i in range(engine.num_io_tensors)}
    described = {tensor.name for tensor in tensors}
    differences = [f"{name} is in one of them alone" for name in sorted(found ^ described)]
    if engine.num_optimization_profiles != len(profiles):
        differences.append(f"{engine.num_optimization_profiles} profiles, not {len(profiles)}")
        return differences
    for tensor in tensors:
        if tensor.name in found:
            differences += _tensor_differences(engine, tensor, aliases.get(tensor.name), profiles)
    return differences


def _tensor_differences(engine: Any, tensor: TensorSpec, alias: str | None, profiles: dict[str, int]) -> list[str]:
    name = tensor.name
    fixed = tuple(-1 if isinstance(size, str) else size for size in tensor.shape)
    facts: list[tuple[str, object, object]] = [
        ("direction", engine.get_tensor_mode(name).name.lower(), tensor.direction),
        ("type", DTYPES.get(engine.get_tensor_dtype(name).name), tensor.dtype),
        ("shape", tuple(engine.get_tensor_shape(name)), fixed),
    ]
    if tensor.direction == "output":
        facts.append(("alias", engine.get_aliased_input_tensor(name) or None, alias))
    for profile, own in tensor.profiles.items():
        shapes = tuple(tuple(shape) for shape in engine.get_tensor_profile_shape(name, profiles[profile]))
        facts.append((f"profile {profile}", shapes, (own.min, own.opt, own.max)))
    return [f"{name} has {what} {found}, not {told}" for what, found, told in facts if found != told]


def _shape(tensor: Any, names: list[str | None]) -> tuple[int | str, ...]:
    sizes: list[int | str] = []
    for axis, size in enumerate(tensor.shape):
        name = names[axis] if axis < len(names) else None
        if size == -1 and not name:
            raise ValueError(f"{tensor.name} leaves dimension {axis} open and has no name for it")
        sizes.append(name if size == -1 and name else int(size))
    return tuple(sizes)
