"""Whether a model's weights fit into memory, before minutes are spent on loading them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch

from moi_engines.model_source import model_name
from moi_engines.precision import device_here, dtype_here
from moi_eval.extras import require

_WIDTH = {"float32": 4, "float16": 2, "bfloat16": 2}


def parameters(folder: Path) -> int:
    """Elements of all tensors in the safetensors files of a folder; 0 where there are none."""
    return sum(_elements(path) for path in folder.glob("*.safetensors"))


def _elements(path: Path) -> int:
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, MemoryError):
        return 0  # a broken file: the engine that loads it says so


def free_bytes(device: str) -> int | None:
    """Memory a model may take on "cpu" or "cuda", or None on a GPU that is not there."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(torch.device(device))[0]) if torch.cuda.is_available() else None
    require("eval", "psutil")
    import psutil

    return int(psutil.virtual_memory().available)


def check_fits(folder: Path, device: str = "auto", dtype: str = "auto") -> None:
    """ValueError if the weights in a folder alone exceed the memory that is free."""
    check_size(model_name(folder), parameters(folder), device, dtype)


def check_size(name: str, count: float, device: str = "auto", dtype: str = "auto") -> None:
    """The same for a model of `count` parameters, whose weights may be on no disk."""
    device = device_here(device)
    dtype = dtype_here(dtype, device)
    needed, free = count * _WIDTH.get(dtype, 4), free_bytes(device)
    if free is not None and needed > free:
        raise ValueError(
            f"model {name} needs {needed / 2**30:.1f} GiB for its weights as {dtype}, {device} has "
            f"{free / 2**30:.1f} GiB free; take a smaller model, --dtype bfloat16 or a larger machine"
        )
