"""Inputs and outputs of a step graph as its manifest has them: a loop binds these, whatever the graph is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from moi.policies.declaration import uniform_count
from moi.rows import parameter_count
from moi_onnx.manifest import CONFIG, MODEL, Manifest

# Of the settings, one a row; the rest are float32.
SETTING_DTYPES = {"top_k": "int64", "policy": "int32"}
_CACHES = ("past_key_values", "present")


class Facts(NamedTuple):
    """Element type, "float32" or the like, and sizes; None where one is open or not known."""

    dtype: str
    shape: tuple[int | None, ...]


def check_graph(where: object, manifest: Manifest, found: Mapping[str, Facts]) -> None:
    """ValueError unless the inputs and outputs of the graph in the folder `where` are those of its manifest."""
    if differences := _differences(manifest, found):
        raise ValueError(
            f"{CONFIG} in {where} does not describe its {MODEL} ({'; '.join(differences[:3])}); export the model again"
        )


def _differences(manifest: Manifest, found: Mapping[str, Facts]) -> list[str]:
    layers = sum(name.startswith(f"{_CACHES[0]}.") for name in found) // 2
    if layers != manifest.layers:  # said before so many names are made
        return [f"{layers} layers, not {manifest.layers}"]
    described = _described(manifest)
    differences = [f"{name} is in one of them alone" for name in sorted(described.keys() ^ found.keys())]
    for name in described.keys() & found.keys():
        (dtype, shape), told = found[name], described[name]
        if dtype != told.dtype:
            differences.append(f"{name} has type {dtype}, not {told.dtype}")
        if not _fits(shape, told.shape):
            differences.append(f"{name} has shape {_written(shape)}, not {_written(told.shape)}")
    return sorted(differences)


def _fits(shape: tuple[int | None, ...], told: tuple[int | None, ...]) -> bool:
    return len(shape) == len(told) and all(None in pair or pair[0] == pair[1] for pair in zip(shape, told, strict=True))


def _described(manifest: Manifest) -> dict[str, Facts]:
    row, mixture = (None,), (None, 1, manifest.slots)
    cache = Facts(manifest.dtype, (None, manifest.heads, manifest.max_length, manifest.width))
    if manifest.variant == "static":
        place = {"write_indices": Facts("int64", row), "last_index": Facts("int64", row)}
    else:
        place = {"attention_mask": Facts("int64", (None, None)), "position_ids": Facts("int64", (None, None))}
    return {
        "mix_ids": Facts("int32", (None, None, None)),
        "mix_weights": Facts("float32", (None, None, None)),
        **place,
        **{
            f"{kind}.{layer}.{part}": cache
            for kind in _CACHES
            for layer in range(manifest.layers)
            for part in ("key", "value")
        },
        **{name: Facts("float32", row) for name in ("noise", "temperature", "top_p", "min_p")},
        **{name: Facts(dtype, row) for name, dtype in SETTING_DTYPES.items()},
        "parameters": Facts("float32", (None, parameter_count(manifest.policies))),
        "uniforms": Facts("float32", (None, uniform_count(manifest.top_k))),
        "token": Facts("int64", row),
        "decided": Facts("bool", row),
        "next_mix_ids": Facts("int32", mixture),
        "next_mix_weights": Facts("float32", mixture),
        "entropy": Facts("float32", row),
        "intervention": Facts("float32", row),
        "logits": Facts(manifest.dtype, (None, manifest.vocab)),
    }


def _written(shape: tuple[int | None, ...]) -> str:
    return "[" + ",".join("?" if size is None else str(size) for size in shape) + "]"
