"""The TensorRT engines: decode with what `moi compile` made, TensorRT and TensorRT-RTX alike.

    prompts --prefill--> token, next mixture --decode--> token, next mixture ...

The compiled step samples, mixes and embeds; the host reads four numbers per row and step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from moi import MoIConfig
from moi.rows import Layout, encode
from moi_compile.runtimes import check_tensorrt, check_tensorrt_rtx
from moi_compile.sidecar import Profile
from moi_engines.base import RowEngine
from moi_engines.checkpoint import load_tokenizer
from moi_engines.graph_folder import compiled, tf32
from moi_engines.protocol import TokenEvent
from moi_engines.registry import EngineSpec, SelfTest
from moi_engines.request import Limits, Row
from moi_engines.sampler import SamplingTensors, sample
from moi_engines.tensorrt_session import Batch, Output, Step
from moi_onnx.manifest import Manifest, read_manifest


class TensorRTEngine(RowEngine):
    """Decodes with TensorRT. See `moi_engines.protocol.Engine`.

    model        folder made by `moi export`, with what `moi compile` added
    engine       the engine file; None is model/model.engine
    batch_size   rows decoded together; None is what the engine was compiled for
    cuda_graphs  record a decode step once and replay it

    Raises FileNotFoundError, ValueError, ImportError or RuntimeError for whatever does not fit.
    """

    name = "tensorrt"
    runtime = "tensorrt"

    def __init__(
        self,
        model: str | Path,
        *,
        engine: str | Path | None = None,
        batch_size: int | None = None,
        cuda_graphs: bool = False,
    ) -> None:
        folder, self.manifest = read_manifest(model)
        self.step, self.profile = self._load(Path(engine) if engine else folder / "model.engine", folder)
        self.batch_size = _batch_size(batch_size, self.profile)
        self.cuda_graphs = cuda_graphs
        self.tokenizer = load_tokenizer(folder)
        self.limits = Limits(self.manifest.vocab, self.manifest.positions, frozenset(self.manifest.eos))

    def _load(self, engine: Path, folder: Path) -> tuple[Step, Profile]:
        from moi_engines.tensorrt_step import EngineStep

        step = EngineStep(self.runtime, engine, folder)
        return step, step.sidecar.profile

    def _check(self, row: Row) -> None:
        _check_settings(row.moi, self.manifest)
        if len(row.prompt) > self.profile.max_prompt:
            raise ValueError(
                f"prompt {row.index} has {len(row.prompt)} tokens; the engine was compiled for "
                f"{self.profile.max_prompt} (moi compile --max-prompt)"
            )

    def _decode_batch(self, rows: list[Row]) -> Iterator[TokenEvent]:
        prompts = [row.prompt for row in rows]
        batch = Batch(self.step, self.manifest, prompts, _settings(rows, self.manifest.policies), self.cuda_graphs)
        while True:
            noise = [next(row.noise, 0.0) for row in rows]
            out = self._decided(batch, batch.step(noise), rows, noise)
            chosen = zip(rows, out.token, out.entropy, out.intervention, strict=True)
            for i, (row, token, entropy, intervention) in enumerate(chosen):
                if row.finish_reason is None:
                    yield row.push(token, entropy, intervention)
                    if row.finish_reason is not None:
                        batch.finish(i)
            alive = [i for i, row in enumerate(rows) if row.finish_reason is None]
            if not alive:
                return
            if len(alive) <= len(rows) // 2:  # dropping rows copies the cache: only when it pays
                batch.select(alive)
                rows = [rows[i] for i in alive]

    def _decided(self, batch: Batch, out: Output, rows: list[Row], noise: list[float]) -> Output:
        """The step's output, with rows whose sampling reaches beyond the graph's candidates drawn here."""
        for i, decided in enumerate(out.decided):
            if decided or rows[i].finish_reason is not None:
                continue
            logits = batch.logits(i)
            params = SamplingTensors.of([rows[i].sampling], self.limits.vocab, logits.device)
            out.token[i] = int(sample(logits, params, torch.tensor(noise[i : i + 1], device=logits.device)))
            out.intervention[i] = batch.replace_token(i, out.token[i])
        return out


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


def _check_settings(config: MoIConfig, manifest: Manifest) -> None:
    """ValueError for settings that the engine does not compute."""
    if not manifest.mixing and config.policy != "token":
        raise ValueError(
            f"policy={config.policy!r} is not allowed; this engine was exported without mixing: use 'token'"
        )
    encode([config], manifest.policies)
    for key in ("top_k", "entropy", "prior") if manifest.mixing else ():
        value, fixed = getattr(config, key), getattr(manifest, key)
        if value != fixed:
            raise ValueError(f"{key}={value!r} is not allowed; this engine was exported with {key}={fixed!r}")


def _settings(rows: list[Row], layout: Layout) -> dict[str, torch.Tensor]:
    """Inputs of the step, [B] each but for parameters [B,P], that stay the same from step to step."""
    sampling, (codes, values) = [row.sampling for row in rows], encode([row.moi for row in rows], layout)
    return {
        "temperature": torch.tensor([params.temperature for params in sampling], dtype=torch.float32),
        "top_k": torch.tensor([params.top_k for params in sampling], dtype=torch.int64),
        "top_p": torch.tensor([params.top_p for params in sampling], dtype=torch.float32),
        "min_p": torch.tensor([params.min_p for params in sampling], dtype=torch.float32),
        "policy": torch.tensor(codes, dtype=torch.int32),
        "parameters": torch.tensor(values, dtype=torch.float32),
    }


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
