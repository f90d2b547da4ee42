"""ONNX Runtime's execution providers on this machine: what `moi doctor` says of each.

That of TensorRT-RTX comes as a library in a package of its own, which a program registers before it makes a session.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

RTX = "NvTensorRTRTXExecutionProvider"
_MODULE, _PACKAGE = "onnxruntime_ep_nv_tensorrt_rtx", "onnxruntime-ep-nv-tensorrt-rtx"
_SECONDS = 120
# The package makes links, loads libraries and changes the environment when it is imported.
_COUNT_DEVICES = f"""
import onnxruntime as ort, {_MODULE} as plugin
ort.register_execution_provider_library(plugin.get_ep_name(), plugin.get_library_path())
print(sum(device.ep_name == "{RTX}" for device in ort.get_ep_devices()))
"""


def provider_reasons() -> dict[str, str | None]:
    """By provider, why it cannot be used and what to do about it, or None."""
    if find_spec("onnxruntime") is None:
        return {RTX: "onnxruntime not installed; pip install 'mixture-of-inputs[onnx]'"}
    from moi_engines.onnx_session import PROVIDERS

    return {**{full: _reason(name) for name, full in PROVIDERS.items()}, RTX: rtx_reason()}


def _reason(name: str) -> str | None:
    from moi_engines.onnx_session import choose_provider

    try:
        choose_provider(name)
    except RuntimeError as error:
        return str(error)
    return None


def rtx_reason() -> str | None:
    """Of TensorRT-RTX's provider, which is registered in a process of its own unless ONNX Runtime was built with it."""
    import onnxruntime

    if RTX in onnxruntime.get_available_providers():
        return None
    if find_spec(_MODULE) is None:
        return f"{_MODULE} not installed; pip install {_PACKAGE}"
    command = [sys.executable, "-c", _COUNT_DEVICES]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        return f"{_PACKAGE}: its library did not register within {_SECONDS} s"
    if result.returncode != 0:
        said = result.stderr.strip().splitlines() or [f"exit status {result.returncode}"]
        return f"{_PACKAGE}: its library cannot be registered: {said[-1]}"
    if result.stdout.split()[-1:] == ["0"]:
        return f"{_PACKAGE}: it finds no GPU that it supports (Ampere or later)"
    return None
