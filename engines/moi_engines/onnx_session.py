"""An exported decode step in ONNX Runtime, over tensors of PyTorch."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort
import torch

from moi_engines.graph_batch import Run
from moi_engines.graph_cache import Tensors
from moi_onnx.manifest import MODEL, Manifest
from moi_onnx.tensors import Facts, check_graph

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
# Element types of ONNX (TensorProto.DataType).
_TYPES = {
    torch.float32: 1,
    torch.int32: 6,
    torch.int64: 7,
    torch.bool: 9,
    torch.float16: 10,
    torch.bfloat16: 16,
}


def choose_provider(name: str) -> str:
    """ "cpu", "cuda" or "tensorrt"; "auto" is the CPU unless both ONNX Runtime and PyTorch can use a GPU.

    Raises ValueError for an unknown name, RuntimeError for one that this ONNX Runtime or PyTorch lacks.
    """
    present = ort.get_available_providers()
    if name == "auto":
        return "cuda" if PROVIDERS["cuda"] in present and torch.cuda.is_available() else "cpu"
    if name not in PROVIDERS:
        raise ValueError(f"provider={name!r} is unknown; allowed: auto, {', '.join(PROVIDERS)}")
    if PROVIDERS[name] not in present:
        raise RuntimeError(f"provider={name!r} is not in this ONNX Runtime (it has {', '.join(present)})")
    if name != "cpu" and not torch.cuda.is_available():
        raise RuntimeError(f"provider={name!r} needs a GPU, and PyTorch, which holds its buffers, finds none here")
    return name


class StepSession:
    """The session of an ONNX folder; a `moi_engines.graph_batch.Runner`.

    provider  as `choose_provider` gives it
    threads   of the CPU provider; None lets ONNX Runtime choose

    Raises ValueError for a model that ONNX Runtime cannot load, or that is not what the manifest describes.
    """

    def __init__(self, folder: Path, manifest: Manifest, provider: str, threads: int | None) -> None:
        if manifest.dtype == "bfloat16" and provider == "cpu":
            raise ValueError("dtype bfloat16 does not run on ONNX Runtime's CPU provider; export float32 or float16")
        options = ort.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
        chosen = [PROVIDERS[provider], PROVIDERS["cpu"]] if provider != "cpu" else [PROVIDERS["cpu"]]
        try:
            self.session = ort.InferenceSession(str(folder / MODEL), options, providers=chosen)
        except Exception as error:  # whatever ONNX Runtime raises for a broken model
            raise ValueError(f"ONNX Runtime cannot load {folder / MODEL}: {error}") from error
        check_graph(folder, manifest, _facts(self.session))
        self.device = torch.device("cpu") if provider == "cpu" else torch.device("cuda", 0)

    def bind(self, inputs: Tensors, outputs: Tensors, prefill: bool) -> Run:
        """See `Runner`. A tensor that is input and output is written in place."""
        binding, place = self.session.io_binding(), (self.device.type, 0)
        for name, value in inputs.items():
            binding.bind_input(name, *place, _TYPES[value.dtype], tuple(value.shape), value.data_ptr())
        for name, value in outputs.items():
            binding.bind_output(name, *place, _TYPES[value.dtype], tuple(value.shape), value.data_ptr())
        held = (inputs, outputs)  # the binding has their addresses alone

        def run() -> None:
            assert held
            if self.device.type == "cuda":  # ONNX Runtime's stream does not wait for PyTorch's
                torch.cuda.current_stream().synchronize()
            self.session.run_with_iobinding(binding)

        return run


def _facts(session: ort.InferenceSession) -> dict[str, Facts]:
    """Of its inputs and outputs, by name."""
    names = {"float": "float32"}  # others are called as everywhere
    facts = dict[str, Facts]()
    for tensor in (*session.get_inputs(), *session.get_outputs()):
        kind = tensor.type.removeprefix("tensor(").removesuffix(")")
        shape = tuple(size if isinstance(size, int) else None for size in tensor.shape)
        facts[tensor.name] = Facts(names.get(kind, kind), shape)
    return facts
