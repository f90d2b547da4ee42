"""Folders that engines of graphs read, made of a model folder: for `moi selftest` and for benchmarks."""

from __future__ import annotations

from pathlib import Path

import torch

from moi_engines.parity_types import Types
from moi_engines.registry import Workload


def exported(model: Path, scratch: Path, workload: Workload) -> Path:
    """The ONNX folder of a model; those with and without mixing lie side by side."""
    from moi_engines.onnx_export import export
    from moi_onnx.options import ExportOptions

    options = ExportOptions(max_length=workload.positions, mixing=workload.mixing)
    return export(model, scratch / ("export" if workload.mixing else "export-plain"), options, force=True)


def compiled(runtime: str, model: Path, scratch: Path, workload: Workload) -> Path:
    """The ONNX folder with an engine for this GPU in it."""
    from moi_compile import RUNTIMES, CompileOptions, compile_engine

    folder = exported(model, scratch, workload)
    chip = ".".join(map(str, torch.cuda.get_device_capability()))
    # A runtime with a list of chips compiles for those it is told; the other for the GPU it finds.
    chips = () if RUNTIMES[runtime].capabilities is None else (chip,)
    compile_engine(folder, folder / "model.engine", CompileOptions(runtime, chips, max_batch=workload.batch))
    return folder


def tf32(model: Path) -> Types:
    """Of a runtime that multiplies float32 in TF32 on a GPU: its mantissa is float16's."""
    return Types("float32", "float16") if torch.cuda.is_available() else Types()
