"""Engine files at load: everything that can be wrong with one, found before TensorRT sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from moi_compile.runtimes import Runtime
from moi_compile.sidecar import Sidecar, file_hash, source_hash
from moi_compile.tensors import engine_differences
from moi_onnx.manifest import read_manifest


def check_engine(engine: Path, folder: Path, sidecar: Sidecar, chosen: Runtime, installed: str) -> None:
    """ValueError that names the difference and the way out."""
    again = f"compile it again: moi compile {folder.name} --runtime {chosen.name}"
    if sidecar.runtime != chosen.name:
        raise ValueError(f"{engine.name} was compiled for {sidecar.runtime}, not {chosen.name}; {again}")
    if sidecar.version != installed:
        raise ValueError(
            f"{engine.name} was compiled with {chosen.name} {sidecar.version}, here is {installed}; {again}"
        )
    if file_hash(engine) != sidecar.engine:
        raise ValueError(f"{engine.name} is not the file its sidecar describes (cut short or replaced); {again}")
    if read_manifest(folder)[1] != sidecar.model:
        raise ValueError(
            f"{engine.name} was not compiled from the export in {folder}: moi_config.json differs; {again}"
        )
    if source_hash(folder) != sidecar.source:
        raise ValueError(f"{engine.name} was not compiled from the model.onnx in {folder}; {again}")


def check_tensors(file: Path, engine: Any, sidecar: Sidecar, chosen: Runtime) -> None:
    """ValueError if a loaded engine has other tensors, shared memory or profiles than its sidecar says."""
    if differences := engine_differences(engine, sidecar.tensors, sidecar.aliases, sidecar.profiles):
        raise ValueError(
            f"{file.name} is not what its sidecar describes ({'; '.join(differences[:3])}); compile it again: "
            f"moi compile DIR --runtime {chosen.name}"
        )


def check_chip(sidecar: Sidecar, chosen: Runtime, capability: str) -> None:
    """ValueError if the engine cannot run on a GPU of this compute capability."""
    if chosen.capabilities is not None and capability not in chosen.capabilities:
        known = ", ".join(chosen.capabilities)
        raise ValueError(f"{chosen.name} runs on compute capability {known}; this GPU has {capability}")
    if capability not in sidecar.capabilities:
        built = ", ".join(sidecar.capabilities)
        raise ValueError(f"the engine was compiled for compute capability {built}; this GPU has {capability}")


def deserialize(trt: Any, engine: Path, logger: Any) -> tuple[Any, Any]:
    """(runtime, engine); the runtime must outlive the engine. RuntimeError with TensorRT's reason."""
    runtime = trt.Runtime(logger)
    loaded = runtime.deserialize_cuda_engine(engine.read_bytes())
    if loaded is None:
        raise RuntimeError(f"{engine} cannot be loaded: {logger.last or 'no reason given'}")
    return runtime, loaded
