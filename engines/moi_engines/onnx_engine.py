"""The ONNX Runtime engine: decodes a folder made by `moi export`.

    prompts --prefill--> token, next mixture --decode--> token, next mixture ...

The graph samples, mixes and embeds; the host reads four numbers per row and step. A row whose sampling
parameters reach beyond the graph's candidates is drawn from its logits here, by the same sampler as the
torch engine's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from moi import MoIConfig
from moi.rows import Layout, encode
from moi_engines.base import RowEngine
from moi_engines.checkpoint import load_tokenizer
from moi_engines.graph_folder import exported, tf32
from moi_engines.parity_types import Types
from moi_engines.protocol import TokenEvent
from moi_engines.registry import EngineSpec
from moi_engines.request import Limits, Row
from moi_engines.sampler import SamplingTensors, sample
from moi_onnx.manifest import Manifest, read_manifest

if TYPE_CHECKING:
    from moi_engines.onnx_session import Batch, Output


class ONNXEngine(RowEngine):
    """Decodes with ONNX Runtime. See `moi_engines.protocol.Engine`.

    model       folder made by `moi export`
    provider    "auto", "cpu", "cuda" or "tensorrt"; "auto" is the CPU unless ONNX Runtime was built for a GPU
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
        folder, self.manifest = read_manifest(model)
        try:
            self.tokenizer = load_tokenizer(folder)
        except Exception as error:  # whatever a broken file raises in the libraries that read it
            raise ValueError(f"the tokenizer in {folder} cannot be read: {error}") from error
        self.session = StepSession(folder, self.manifest, chosen, threads)
        self.limits = Limits(self.manifest.vocab, self.manifest.positions, frozenset(self.manifest.eos))
        self.batch_size = batch_size

    def _check(self, row: Row) -> None:
        _check_settings(row.moi, self.manifest)

    def _decode_batch(self, rows: list[Row]) -> Iterator[TokenEvent]:
        from moi_engines.onnx_session import Batch

        batch = Batch(self.session, [row.prompt for row in rows], _settings(rows, self.manifest.policies))
        while True:
            noise = np.array([next(row.noise, 0.0) for row in rows], np.float32)
            chosen = self._decided(batch, batch.step(noise), rows, noise)
            for i, (row, token, entropy, intervention) in enumerate(zip(rows, *chosen, strict=True)):
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

    def _decided(
        self, batch: Batch, out: Output, rows: list[Row], noise: np.ndarray[Any, Any]
    ) -> tuple[list[int], list[float], list[float]]:
        """Tokens, entropies and interventions of a step, with undecided rows drawn from their logits."""
        tokens, interventions = out.token.tolist(), out.intervention.tolist()
        for i, decided in enumerate(out.decided.tolist()):
            if decided or rows[i].finish_reason is not None:
                continue
            logits = torch.from_numpy(batch.logits(i).astype(np.float32))[None]
            params = SamplingTensors.of([rows[i].sampling], self.limits.vocab, logits.device)
            tokens[i] = int(sample(logits, params, torch.from_numpy(noise[i : i + 1])))
            interventions[i] = batch.replace_token(i, tokens[i])
        return tokens, out.entropy.tolist(), interventions


def _check_settings(config: MoIConfig, manifest: Manifest) -> None:
    """ValueError for settings that the graph does not compute."""
    if not manifest.mixing and config.policy != "token":
        raise ValueError(
            f"policy={config.policy!r} is not allowed; this graph was exported without mixing: use 'token'"
        )
    encode([config], manifest.policies)
    for key in ("top_k", "entropy", "prior") if manifest.mixing else ():
        value, fixed = getattr(config, key), getattr(manifest, key)
        if value != fixed:
            raise ValueError(f"{key}={value!r} is not allowed; this graph was exported with {key}={fixed!r}")


def _settings(rows: list[Row], layout: Layout) -> dict[str, Any]:
    """Inputs of the graph, [B] each but for parameters [B,P], that stay the same from step to step."""
    sampling, (codes, values) = [row.sampling for row in rows], encode([row.moi for row in rows], layout)
    return {
        "temperature": np.array([params.temperature for params in sampling], np.float32),
        "top_k": np.array([params.top_k for params in sampling], np.int64),
        "top_p": np.array([params.top_p for params in sampling], np.float32),
        "min_p": np.array([params.min_p for params in sampling], np.float32),
        "policy": np.array(codes, np.int32),
        "parameters": np.array(values, np.float32),
    }


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
