"""Exports that several TensorRT test modules share, and the exported graph as a `Runner` on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

MAX_LENGTH = 96


def export_once(name: str, base: Path) -> tuple[Path, Path]:
    """(model folder, export folder) of a tiny model by architecture, or of the model that ships with the project.

    base  a folder of the whole test session: exports take seconds, and several test modules use them
    """
    from moi_engines import embedded_model
    from moi_engines.onnx_export import export
    from moi_engines.testing import save_tiny_model
    from moi_onnx.options import ExportOptions

    folder = base / "tensorrt_exports" / name
    model = embedded_model() if name == "embedded" else folder / "model"
    if not (folder / "export").is_dir():
        if name != "embedded":
            save_tiny_model(model, name)
        # Few candidates, so that some rows are undecided in the graph and drawn by the engine.
        export(model, folder / "export", ExportOptions(max_length=MAX_LENGTH, candidates=16))
    return model, folder / "export"


class RuntimeStep:
    """The exported graph in ONNX Runtime behind the interface of a compiled engine; counts its runs."""

    device = torch.device("cpu")

    def __init__(self, folder: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options)
        self.runs: list[tuple[bool, tuple[int, ...]]] = []

    def bind(self, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor], prefill: bool) -> Callable[[], None]:
        return partial(self.run, inputs, outputs, prefill)

    def run(self, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor], prefill: bool) -> None:
        self.runs.append((prefill, tuple(inputs["mix_ids"].shape)))
        names = [value.name for value in self.session.get_outputs()]
        assert set(names) == set(outputs), "the session allocates exactly the graph's outputs"
        results = self.session.run(names, {name: value.numpy() for name, value in inputs.items()})
        for name, result in zip(names, results, strict=True):
            assert outputs[name].shape == result.shape, name
            outputs[name].copy_(torch.from_numpy(result))
