"""The decode loop of engines whose step is a graph: ONNX Runtime and TensorRT.

    prompts --prefill--> token, next mixture --decode--> token, next mixture ...

The graph samples, mixes and embeds; the host reads four numbers per row and step. A row whose sampling parameters
reach beyond the graph's candidates is drawn from its logits here, by the same sampler as the torch engine's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from moi import Mixture, MoIConfig, RowParams, mix
from moi.rows import Layout, encode
from moi_engines.base import RowEngine
from moi_engines.checkpoint import load_tokenizer
from moi_engines.graph_batch import GraphBatch, Output, Runner
from moi_engines.noise import drawn_uniforms
from moi_engines.protocol import TokenEvent
from moi_engines.request import Limits, SequenceState
from moi_engines.sampler import SamplingTensors, sample
from moi_onnx.manifest import Manifest


class GraphEngine(RowEngine):
    """Decodes the graph of a folder made by `moi export`; subclasses load a runner and say what it takes.

    Raises ValueError that names the folder of a tokenizer that cannot be read.
    """

    graph: ClassVar[str] = "graph"  # what messages call it

    def __init__(self, folder: Path, manifest: Manifest, runner: Runner, batch_size: int) -> None:
        try:
            self.tokenizer = load_tokenizer(folder)
        except Exception as error:  # whatever a broken file raises in the libraries that read it
            raise ValueError(f"the tokenizer in {folder} cannot be read: {error}") from error
        self.manifest, self.runner, self.batch_size = manifest, runner, batch_size
        self.limits = Limits(manifest.vocab, manifest.positions, frozenset(manifest.eos))

    def check(self, row: SequenceState) -> None:
        """See `RowEngine`; K, entropy and prior must be the graph's."""
        check_settings(row.moi, self.manifest, self.graph)

    def decode_batch(self, rows: list[SequenceState]) -> Iterator[TokenEvent]:
        """See `RowEngine`: steps of the graph until all rows are finished."""
        settings = _settings(rows, self.manifest.policies)
        batch = GraphBatch(self.runner, self.manifest, [row.prompt for row in rows], settings)
        while True:
            noise, drawn = [next(row.noise, 0.0) for row in rows], drawn_uniforms(rows, self.runner.device)
            out = batch.step(noise, drawn)
            for i, decided in enumerate(out.decided):
                if not decided and rows[i].finish_reason is None:
                    self._redraw(batch, out, rows, i, noise[i], drawn)
            chosen = zip(rows, out.token, out.entropy, out.intervention, strict=True)
            for i, (row, token, entropy, intervention) in enumerate(chosen):
                if row.finish_reason is None:
                    yield row.append_token(token, entropy, intervention)
                    if row.finish_reason is not None:
                        batch.finish(i)
            alive = [i for i, row in enumerate(rows) if row.finish_reason is None]
            if not alive:
                return
            if len(alive) <= len(rows) // 2:  # dropping rows copies the cache: only when it pays
                batch.select(alive)
                rows = [rows[i] for i in alive]

    def _redraw(
        self, batch: GraphBatch, out: Output, rows: list[SequenceState], i: int, noise: float, drawn: Tensor | None
    ) -> None:
        """Row i, which the graph's candidates do not decide, from its logits."""
        row, logits = rows[i], batch.logits(i)
        params = SamplingTensors.of([row.sampling], self.limits.vocab, logits.device)
        token = sample(logits, params, torch.tensor([noise], device=logits.device))
        if self.manifest.mixing:
            given = RowParams.of([row.moi], [row.sampling.temperature], logits.device)
            own = None if drawn is None else drawn[i : i + 1]
            mixture = mix(logits, token, row.moi, **given._replace(uniforms=own)._asdict())
        else:
            one = torch.ones(1, 1, device=logits.device)
            mixture = Mixture(token[:, None].int(), one, torch.zeros(1, device=logits.device))
        batch.replace(i, mixture)
        out.token[i], out.intervention[i] = int(token), float(mixture.intervention)


def check_settings(config: MoIConfig, manifest: Manifest, graph: str = "graph") -> None:
    """ValueError for settings that the graph does not compute."""
    if not manifest.mixing and config.policy != "token":
        raise ValueError(
            f"policy={config.policy!r} is not allowed; this {graph} was exported without mixing: use 'token'"
        )
    encode([config], manifest.policies)
    for key in ("top_k", "entropy", "prior") if manifest.mixing else ():
        value, fixed = getattr(config, key), getattr(manifest, key)
        if value != fixed:
            raise ValueError(f"{key}={value!r} is not allowed; this {graph} was exported with {key}={fixed!r}")


def _settings(rows: list[SequenceState], layout: Layout) -> dict[str, Tensor]:
    """Inputs of the graph, [B] each but for parameters [B,P], that stay the same from step to step."""
    sampling, (codes, values) = [row.sampling for row in rows], encode([row.moi for row in rows], layout)
    return {
        "temperature": torch.tensor([params.temperature for params in sampling], dtype=torch.float32),
        "top_k": torch.tensor([params.top_k for params in sampling], dtype=torch.int64),
        "top_p": torch.tensor([params.top_p for params in sampling], dtype=torch.float32),
        "min_p": torch.tensor([params.min_p for params in sampling], dtype=torch.float32),
        "policy": torch.tensor(codes, dtype=torch.int32),
        "parameters": torch.tensor(values, dtype=torch.float32),
    }
