"""Rows decoded together by a compiled step: buffers that stay where they are, mixtures fed back on the device.

Dims: B rows, T prompt positions, S slots, M positions of the cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from moi_onnx.manifest import Manifest

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_Tensors = dict[str, Tensor]


class Step(Protocol):
    """The graph of a step, compiled. Outputs are written where the caller says."""

    device: torch.device

    def run(self, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor], prefill: bool) -> None: ...


class Output(NamedTuple):
    """What a step tells the host, one entry a row."""

    token: list[int]
    decided: list[bool]
    entropy: list[float]
    intervention: list[float]


class Batch:
    """Rows with their cache, settings and next mixtures.

    settings     tensors [B] or [B,P] by input name, but for the noise
    cuda_graphs  record the first decode step and replay it: addresses and shapes stay the same
    """

    def __init__(
        self, step: Step, manifest: Manifest, prompts: list[list[int]], settings: _Tensors, cuda_graphs: bool = False
    ) -> None:
        self._step, self._manifest, self._graphs = step, manifest, cuda_graphs
        self._settings = {name: value.to(step.device) for name, value in settings.items()}
        self._lengths = torch.tensor([len(prompt) for prompt in prompts], device=step.device)
        self._advance = torch.ones_like(self._lengths)  # 0 for finished rows
        self._prompts: list[list[int]] | None = prompts
        assert manifest.max_length is not None, "moi compile refuses caches that grow"
        shape = (len(prompts), manifest.heads, manifest.max_length, manifest.width)
        names = [f"{layer}.{kind}" for layer in range(manifest.layers) for kind in ("key", "value")]
        self._cache = {name: torch.zeros(shape, dtype=_DTYPES[manifest.dtype], device=step.device) for name in names}
        self._allocate()

    def step(self, noise: list[float]) -> Output:
        """The next token of each row."""
        self._noise.copy_(torch.tensor(noise))
        if self._prompts is not None:
            self._prefill(self._prompts)
            self._prompts = None
        else:
            self._decode()
            self._lengths += self._advance
        out = self._out
        self._mix_ids.copy_(out["next_mix_ids"])
        self._mix_weights.copy_(out["next_mix_weights"])
        return Output(*(out[name].tolist() for name in Output._fields))

    def logits(self, row: int) -> Tensor:
        """Logits float32 [1,V] that the last step's token of `row` was drawn from."""
        return self._out["logits"][row : row + 1].float()

    def replace_token(self, row: int, token: int) -> float:
        """Feed back `token` instead of the drawn one; returns the row's intervention.

        The weights do not depend on the token: only slot 0's id changes.
        """
        ids, weights = self._mix_ids[row, 0], self._mix_weights[row, 0]
        ids[0] = token
        return float(weights[ids != token].sum())

    def finish(self, row: int) -> None:
        """The row has its last token: it stays at its position, which no token of it fills or sees."""
        self._advance[row] = 0

    def select(self, rows: list[int]) -> None:
        """Keep only these rows."""
        keep = torch.tensor(rows, device=self._step.device)
        self._settings = {name: value[keep] for name, value in self._settings.items()}
        self._cache = {name: value[keep] for name, value in self._cache.items()}
        self._lengths, self._advance = self._lengths[keep], self._advance[keep]
        ids, weights = self._mix_ids[keep], self._mix_weights[keep]
        self._allocate()
        self._mix_ids.copy_(ids)
        self._mix_weights.copy_(weights)

    def _allocate(self) -> None:
        """Buffers of a step for as many rows as there are; a recorded graph would point at the old ones."""
        rows, slots = len(self._lengths), self._manifest.top_k + 1 if self._manifest.mixing else 1

        def new(dtype: torch.dtype, *shape: int) -> Tensor:
            return torch.zeros(rows, *shape, dtype=dtype, device=self._step.device)

        self._noise, self._first = new(torch.float32), new(torch.int64)
        self._mix_ids, self._mix_weights = new(torch.int32, 1, slots), new(torch.float32, 1, slots)
        self._out = {
            "token": new(torch.int64),
            "decided": new(torch.bool),
            "next_mix_ids": new(torch.int32, 1, slots),
            "next_mix_weights": new(torch.float32, 1, slots),
            "entropy": new(torch.float32),
            "intervention": new(torch.float32),
            "logits": new(_DTYPES[self._manifest.dtype], self._manifest.vocab),
        }
        self._recorded: Any = None

    def _prefill(self, prompts: list[list[int]]) -> None:
        """One slot of weight 1 per token; padding right of a prompt is never attended to."""
        longest = max(len(prompt) for prompt in prompts)
        padded = [[*prompt, *[0] * (longest - len(prompt))] for prompt in prompts]
        ids = torch.tensor(padded, dtype=torch.int32, device=self._step.device)[:, :, None]
        mixture = {"mix_ids": ids, "mix_weights": torch.ones_like(ids, dtype=torch.float32)}
        self._run({**mixture, "write_indices": self._first, "last_index": self._lengths - 1}, prefill=True)

    def _decode(self) -> None:
        if self._recorded is not None:
            self._recorded.replay()
            return
        inputs = {"mix_ids": self._mix_ids, "mix_weights": self._mix_weights}
        place = {"write_indices": self._lengths, "last_index": self._first}
        self._run({**inputs, **place}, prefill=False)
        if self._graphs:
            # The run above was the warm-up TensorRT asks for; recording does not execute.
            self._recorded = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._recorded):
                self._run({**inputs, **place}, prefill=False)

    def _run(self, inputs: _Tensors, prefill: bool) -> None:
        past = {f"past_key_values.{name}": value for name, value in self._cache.items()}
        present = {f"present.{name}": value for name, value in self._cache.items()}
        given = {**inputs, **past, "noise": self._noise, **self._settings}
        self._step.run(given, {**self._out, **present}, prefill)
