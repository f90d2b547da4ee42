"""From an exported folder to an engine file and its sidecar."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moi.files import check_file, write_file
from moi_compile.network import (
    add_profiles,
    allow_decomposition,
    check_folder,
    create_network,
    input_ranges,
    layer_types,
    network_facts,
    parse,
    profile_of,
)
from moi_compile.rules import policy_specs
from moi_compile.runtimes import Runtime, check_capabilities, quiet_logger, runtime
from moi_compile.sidecar import Sidecar, check_out, source_hash, write_engine
from moi_compile.tensors import network_aliases, network_tensors
from moi_onnx.manifest import read_manifest
from moi_onnx.tensors import check_graph

# TensorRT takes any bytes for a timing cache, so ours begin with a mark: no other file is read or written over.
_TIMING_MARK = b"moi timing cache 1\n"
_TIMING_CACHE = "a timing cache that moi compile wrote"
Report = Callable[[str, int, int], None]  # (phase, steps done, steps in all)


@dataclass(frozen=True)
class CompileOptions:
    """runtime       "tensorrt" or "tensorrt-rtx"
    capabilities  chips, as "8.6"; tensorrt-rtx alone, which needs at least one and compiles without a GPU
    max_batch     rows decoded together
    max_prompt    tokens of the longest prompt; None: all positions of the export but one
    timing_cache  file read before and written after; None: no reuse
    """

    runtime: str = "tensorrt"
    capabilities: tuple[str, ...] = ()
    max_batch: int = 8
    max_prompt: int | None = None
    timing_cache: Path | None = None


def compile_engine(folder: Path, out: Path, options: CompileOptions, report: Report | None = None) -> Sidecar:
    """Compile folder/model.onnx to `out`, write out.json beside it, and return what that says.

    Raises FileNotFoundError for a folder that is no export, FileExistsError for files that are no engine of ours
    (before anything is compiled), ImportError without the runtime, ValueError for
    settings it cannot take or a graph it cannot parse, RuntimeError if TensorRT gives up.
    """
    chosen = runtime(options.runtime)
    check_capabilities(chosen, options.capabilities)
    graph = check_folder(folder)
    manifest = read_manifest(folder)[1]
    profile = profile_of(manifest, options.max_batch, options.max_prompt)
    check_out(out)
    if options.timing_cache is not None:
        check_file(options.timing_cache, _is_timing_cache, _TIMING_CACHE, "--timing-cache")
    trt = chosen.load()
    logger = quiet_logger(trt)
    builder = _builder(trt, logger, chosen)
    network, plugin = create_network(trt, chosen, builder)
    parse(trt, network, graph, logger)
    check_graph(folder, manifest, network_facts(network))
    allow_decomposition(trt, network)
    config = _config(trt, builder, options, report)
    ranges = input_ranges(network, profile)
    add_profiles(builder, config, ranges)
    # Whatever keeps the loop from being described is said before minutes go into compiling.
    tensors, policies = network_tensors(network, ranges), policy_specs(manifest)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise RuntimeError(
            f"{chosen.name} {trt.__version__} could not compile {graph}: {logger.last or 'no reason given'}"
        )
    data = bytes(engine)
    _save_timing_cache(config, options.timing_cache)
    sidecar = Sidecar(
        runtime=chosen.name,
        version=trt.__version__,
        capabilities=options.capabilities or (_device_capability(),),
        profile=profile,
        layers=layer_types(network),
        plugin=plugin,
        source=source_hash(folder),
        engine=hashlib.sha256(data).hexdigest(),
        tensors=tensors,
        aliases=network_aliases(trt, network),
        model=manifest,
        policies=policies,
    )
    write_engine(out, data, sidecar)
    return sidecar


def _builder(trt: Any, logger: Any, chosen: Runtime) -> Any:
    """TensorRT wants the GPU it compiles for; TensorRT-RTX does not."""
    builder = None
    if chosen.capabilities is not None or _has_gpu():
        builder = trt.Builder(logger)
    if builder is None:
        raise RuntimeError(f"{chosen.name} compiles on the GPU it compiles for, and there is none here")
    return builder


def _config(trt: Any, builder: Any, options: CompileOptions, report: Report | None) -> Any:
    config = builder.create_builder_config()
    if options.capabilities:
        config.num_compute_capabilities = len(options.capabilities)
        for index, capability in enumerate(options.capabilities):
            config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{capability.replace('.', '')}"), index)
    if options.timing_cache is not None:
        _use_timing_cache(config, options.timing_cache)
    if report is not None:
        config.progress_monitor = _monitor(trt, report)
    return config


def _use_timing_cache(config: Any, path: Path) -> None:
    known = path.read_bytes().removeprefix(_TIMING_MARK) if path.is_file() else b""
    config.set_timing_cache(config.create_timing_cache(known), ignore_mismatch=False)


def _save_timing_cache(config: Any, path: Path | None) -> None:
    cache = config.get_timing_cache() if path is not None else None
    if path is not None and cache is not None:
        write_file(path, _TIMING_MARK + bytes(cache.serialize()), _is_timing_cache, _TIMING_CACHE, "--timing-cache")


def _is_timing_cache(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_TIMING_MARK)) == _TIMING_MARK


def _monitor(trt: Any, report: Report) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.sizes: dict[str, int] = {}

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            self.sizes[phase] = steps
            report(phase, 0, steps)

        def step_complete(self, phase: str, step: int) -> bool:
            report(phase, step + 1, self.sizes[phase])
            return True

        def phase_finish(self, phase: str) -> None:
            report(phase, self.sizes[phase], self.sizes[phase])

    return Monitor()


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _device_capability() -> str:
    import torch

    return ".".join(str(part) for part in torch.cuda.get_device_capability())
