"""The two runtimes that share one API: full TensorRT and TensorRT-RTX, found or refused by name."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any


@dataclass(frozen=True)
class Runtime:
    """module  of the Python bindings; extra  of this project that brings it

    capabilities  compute capabilities the runtime knows, None where the GPU at hand decides
    """

    name: str
    module: str
    extra: str
    capabilities: tuple[str, ...] | None

    def load(self) -> Any:
        """The bindings; ImportError that names the extra."""
        if find_spec(self.module) is None:
            raise ImportError(f"{self.module} is not installed; pip install 'mixture-of-inputs[{self.extra}]'")
        return importlib.import_module(self.module)


RUNTIMES = {
    "tensorrt": Runtime("tensorrt", "tensorrt", "tensorrt", None),
    "tensorrt-rtx": Runtime(
        "tensorrt-rtx", "tensorrt_rtx", "tensorrt-rtx", ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
    ),
}


def runtime(name: str) -> Runtime:
    """ValueError for an unknown name."""
    if name not in RUNTIMES:
        raise ValueError(f"runtime={name!r} is unknown; allowed: {', '.join(RUNTIMES)}")
    return RUNTIMES[name]


def check_capabilities(chosen: Runtime, capabilities: tuple[str, ...]) -> None:
    """ValueError for a compute capability the runtime cannot compile for."""
    if chosen.capabilities is None:
        if capabilities:
            raise ValueError("compute-capability is for tensorrt-rtx; tensorrt compiles for the GPU it runs on")
        return
    if not capabilities:
        raise ValueError(f"compute-capability is missing; {chosen.name} knows {', '.join(chosen.capabilities)}")
    for capability in capabilities:
        if capability not in chosen.capabilities:
            raise ValueError(
                f"compute-capability={capability!r} is not supported by {chosen.name}; "
                f"allowed: {', '.join(chosen.capabilities)}"
            )


def check_tensorrt() -> list[str]:
    """What keeps TensorRT engines from running here; compiling needs the same."""
    return _gpu_problems(RUNTIMES["tensorrt"])


def check_tensorrt_rtx() -> list[str]:
    """What keeps TensorRT-RTX engines from running here; compiling works without a GPU."""
    return _gpu_problems(RUNTIMES["tensorrt-rtx"])


def _gpu_problems(chosen: Runtime) -> list[str]:
    import torch

    if not torch.cuda.is_available():
        return [f"{chosen.name} engines run on an NVIDIA GPU, and PyTorch finds none here"]
    capability = ".".join(str(part) for part in torch.cuda.get_device_capability())
    if chosen.capabilities is not None and capability not in chosen.capabilities:
        known = ", ".join(chosen.capabilities)
        return [f"{chosen.name} runs on compute capability {known}; this GPU has {capability}"]
    return []


def quiet_logger(trt: Any) -> Any:
    """A logger that prints nothing and keeps the last error in `last`, for our own message."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        last = ""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.last = message

    return Logger()
