"""The ONNX Runtime engine: decodes a folder made by `moi export`."""

from __future__ import annotations

from pathlib import Path

import torch

from moi_engines.graph_engine import GraphEngine
from moi_engines.graph_folder import exported, tf32
from moi_engines.parity_types import Types
from moi_engines.registry import EngineSpec
from moi_onnx.manifest import read_manifest


class ONNXEngine(GraphEngine):
    """Decodes with ONNX Runtime. See `moi_engines.protocol.Engine`.

    model       folder made by `moi export`
    provider    "auto", "cpu", "cuda" or "tensorrt"; "auto" is the CPU unless ONNX Runtime and PyTorch both see a GPU
    threads     of the CPU provider; None lets ONNX Runtime choose
    batch_size  rows decoded together; a static cache takes max_length positions for each

    Raises FileNotFoundError or ValueError for a folder that is missing, incomplete or cut short, RuntimeError
    for a provider that is not there.
    """

    name = "onnxruntime"

    def __init__(
        self, model: str | Path, *, provider: str = "auto", threads: int | None = None, batch_size: int = 16
    ) -> None:
        for key, value in (("batch_size", batch_size), ("threads", threads)):
            if value is not None and value < 1:
                raise ValueError(f"{key}={value!r} is not allowed; {key} must be an integer >= 1")
        from moi_engines.onnx_session import StepSession, choose_provider

        chosen = choose_provider(provider)
        folder, manifest = read_manifest(model)
        super().__init__(folder, manifest, StepSession(folder, manifest, chosen, threads), batch_size)


def _types(model: Path) -> Types:
    import onnxruntime

    return tf32(model) if "CUDAExecutionProvider" in onnxruntime.get_available_providers() else Types()


SPEC = EngineSpec(
    "onnxruntime",
    ONNXEngine,
    modules=("transformers", "onnxruntime"),
    extra="onnx",
    library="onnxruntime",
    reads="exported",
    prepare=exported,
    # As many threads as torch: the pools of two sessions would otherwise spin against each other.
    tuned=lambda folder, workload: {"batch_size": workload.batch, "threads": torch.get_num_threads()},
    types=_types,
    baseline="a graph exported without the op",
    plain_folder=True,
)
