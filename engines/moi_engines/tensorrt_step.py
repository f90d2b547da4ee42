"""A compiled engine as a `Runner` of graph steps: TensorRT and TensorRT-RTX through their one API, over PyTorch."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch

from moi_compile.loading import check_chip, check_engine, check_tensors, deserialize
from moi_compile.runtimes import quiet_logger, runtime
from moi_compile.sidecar import Sidecar, read_sidecar
from moi_engines.graph_batch import Run
from moi_engines.graph_cache import Tensors
from moi_onnx.loop import DECODE, PREFILL


class EngineStep:
    """The engine file `engine`, compiled from `folder`.

    cuda_graphs  record the first run of a bound decode step and replay it: addresses and shapes stay the same

    Raises FileNotFoundError, ValueError, ImportError or RuntimeError that says what does not fit: the file,
    the version, the chip, or that PyTorch has no CUDA.
    """

    def __init__(self, runtime_name: str, engine: Path, folder: Path, cuda_graphs: bool = False) -> None:
        chosen = runtime(runtime_name)
        self.sidecar: Sidecar = read_sidecar(engine)
        trt = chosen.load()
        check_engine(engine, folder, self.sidecar, chosen, trt.__version__)
        if not torch.cuda.is_available():
            raise RuntimeError(f"{chosen.name} engines run on an NVIDIA GPU, and PyTorch finds none here")
        check_chip(self.sidecar, chosen, ".".join(str(part) for part in torch.cuda.get_device_capability()))
        self.device, self._graphs = torch.device("cuda"), cuda_graphs
        self._logger = quiet_logger(trt)
        self._runtime, self._engine = deserialize(trt, engine, self._logger)
        check_tensors(engine, self._engine, self.sidecar, chosen)
        self._stream = torch.cuda.current_stream()
        self._contexts = {prefill: self._context(PREFILL if prefill else DECODE) for prefill in (True, False)}

    def bind(self, inputs: Tensors, outputs: Tensors, prefill: bool) -> Run:
        """See `Runner`. Batches share the execution contexts, so each run tells its addresses anew."""
        run = partial(self.run, inputs, outputs, prefill)
        return _Recorded(run) if self._graphs and not prefill else run

    def run(self, inputs: Tensors, outputs: Tensors, prefill: bool) -> None:
        """Enqueue one step on PyTorch's current stream; errors as `Runner.bind`."""
        context = self._contexts[prefill]
        for name, tensor in inputs.items():
            if not context.set_input_shape(name, tuple(tensor.shape)):
                raise ValueError(f"{name} has shape {list(tensor.shape)}, outside the engine's profile")
            context.set_tensor_address(name, tensor.data_ptr())
        for name, tensor in outputs.items():
            context.set_tensor_address(name, tensor.data_ptr())
        if not context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
            raise RuntimeError(f"TensorRT could not run the step: {self._logger.last or 'no reason given'}")

    def _context(self, profile: str) -> Any:
        context, number = self._engine.create_execution_context(), self.sidecar.profiles[profile]
        if context is None or not context.set_optimization_profile_async(number, self._stream.cuda_stream):
            raise RuntimeError(f"TensorRT gives no execution context: {self._logger.last or 'no reason given'}")
        self._stream.synchronize()
        return context


class _Recorded:
    """A step that is recorded with its first run and replayed from then on."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._graph: Any = None

    def __call__(self) -> None:
        if self._graph is not None:
            self._graph.replay()
            return
        self._run()  # the warm-up that TensorRT asks for; recording does not execute
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._run()
