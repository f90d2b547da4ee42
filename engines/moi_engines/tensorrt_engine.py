"""The TensorRT engines: decode with what `moi compile` made, TensorRT and TensorRT-RTX alike."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from moi_compile.runtimes import check_tensorrt, check_tensorrt_rtx
from moi_compile.sidecar import Profile
from moi_engines.graph_batch import Runner
from moi_engines.graph_engine import GraphEngine
from moi_engines.graph_folder import compiled, tf32
from moi_engines.registry import EngineSpec, SelfTest
from moi_engines.request import SequenceState
from moi_onnx.manifest import read_manifest


class TensorRTEngine(GraphEngine):
    """Decodes with TensorRT. See `moi_engines.protocol.Engine`.

    model        folder made by `moi export`, with what `moi compile` added
    engine       the engine file; None is model/model.engine
    batch_size   rows decoded together; None is what the engine was compiled for
    cuda_graphs  record a decode step once and replay it

    Raises FileNotFoundError, ValueError, ImportError or RuntimeError for whatever does not fit.
    """

    name = "tensorrt"
    runtime = "tensorrt"
    graph = "engine"

    def __init__(
        self,
        model: str | Path,
        *,
        engine: str | Path | None = None,
        batch_size: int | None = None,
        cuda_graphs: bool = False,
    ) -> None:
        folder, manifest = read_manifest(model)
        file = Path(engine) if engine else folder / "model.engine"
        runner, self.profile = self._load(file, folder, cuda_graphs)
        super().__init__(folder, manifest, runner, _batch_size(batch_size, self.profile))

    def _load(self, engine: Path, folder: Path, cuda_graphs: bool) -> tuple[Runner, Profile]:
        from moi_engines.tensorrt_step import EngineStep

        step = EngineStep(self.runtime, engine, folder, cuda_graphs)
        return step, step.sidecar.profile

    def check(self, row: SequenceState) -> None:
        """See `RowEngine`; a prompt must fit what the engine was compiled for."""
        super().check(row)
        if len(row.prompt) > self.profile.max_prompt:
            raise ValueError(
                f"prompt {row.index} has {len(row.prompt)} tokens; the engine was compiled for "
                f"{self.profile.max_prompt} (moi compile --max-prompt)"
            )


class TensorRTRTXEngine(TensorRTEngine):
    """Decodes with TensorRT-RTX; the rest as `TensorRTEngine`."""

    name = "tensorrt_rtx"
    runtime = "tensorrt-rtx"


def _batch_size(given: int | None, profile: Profile) -> int:
    if given is None:
        return profile.max_batch
    if not 1 <= given <= profile.max_batch:
        raise ValueError(
            f"batch_size={given} is not allowed; the engine was compiled for 1..{profile.max_batch} rows "
            "(moi compile --max-batch)"
        )
    return given


SPEC = EngineSpec(
    "tensorrt",
    TensorRTEngine,
    modules=("tensorrt", "transformers"),
    extra="tensorrt",
    library="tensorrt",
    problems=check_tensorrt,
    reads="compiled",
    prepare=partial(compiled, TensorRTEngine.runtime),
    types=tf32,
    selftest=SelfTest(isolated=True),
)
RTX_SPEC = replace(
    SPEC,
    name="tensorrt_rtx",
    load=TensorRTRTXEngine,
    modules=("tensorrt_rtx", "transformers"),
    extra="tensorrt-rtx",
    library="tensorrt-rtx",
    problems=check_tensorrt_rtx,
    prepare=partial(compiled, TensorRTRTXEngine.runtime),
)
