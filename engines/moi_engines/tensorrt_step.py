"""A compiled engine as a `Step`: TensorRT and TensorRT-RTX through their one API, buffers through PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from moi_compile.loading import check_chip, check_engine, deserialize
from moi_compile.network import DECODE, PREFILL
from moi_compile.runtimes import quiet_logger, runtime
from moi_compile.sidecar import Sidecar, read_sidecar


class EngineStep:
    """The engine file `engine`, compiled from `folder`.

    Raises FileNotFoundError, ValueError, ImportError or RuntimeError that says what does not fit: the file,
    the version, the chip, or that PyTorch has no CUDA.
    """

    def __init__(self, runtime_name: str, engine: Path, folder: Path) -> None:
        chosen = runtime(runtime_name)
        self.sidecar: Sidecar = read_sidecar(engine)
        trt = chosen.load()
        check_engine(engine, folder, self.sidecar, chosen, trt.__version__)
        if not torch.cuda.is_available():
            raise RuntimeError(f"{chosen.name} engines run on an NVIDIA GPU, and PyTorch finds none here")
        check_chip(self.sidecar, chosen, ".".join(str(part) for part in torch.cuda.get_device_capability()))
        self.device = torch.device("cuda")
        self._logger = quiet_logger(trt)
        self._runtime, self._engine = deserialize(trt, engine, self._logger)
        self._stream = torch.cuda.current_stream()
        self._contexts = {True: self._context(PREFILL), False: self._context(DECODE)}

    def run(self, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor], prefill: bool) -> None:
        """Enqueue one step on PyTorch's current stream."""
        context = self._contexts[prefill]
        for name, tensor in inputs.items():
            if not context.set_input_shape(name, tuple(tensor.shape)):
                raise ValueError(f"{name} has shape {list(tensor.shape)}, outside the engine's profile")
            context.set_tensor_address(name, tensor.data_ptr())
        for name, tensor in outputs.items():
            context.set_tensor_address(name, tensor.data_ptr())
        if not context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
            raise RuntimeError(f"TensorRT could not run the step: {self._logger.last or 'no reason given'}")

    def _context(self, profile: int) -> Any:
        context = self._engine.create_execution_context()
        if context is None or not context.set_optimization_profile_async(profile, self._stream.cuda_stream):
            raise RuntimeError(f"TensorRT gives no execution context: {self._logger.last or 'no reason given'}")
        self._stream.synchronize()
        return context
