"""Rows decoded together by a step graph: buffers that stay where they are, mixtures fed back on the device.

Dims: B rows, T prompt positions, S slots: components of a mixture, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from moi import Mixture
from moi.policies.declaration import uniform_count
from moi_engines.graph_cache import DTYPES, Tensors, make_cache
from moi_onnx.loop import FED_BACK, HOST_READS
from moi_onnx.manifest import Manifest

Run = Callable[[], None]


class Runner(Protocol):
    """The graph of a step in a runtime, and the device of its tensors."""

    @property
    def device(self) -> torch.device:
        """Of all tensors that it is given."""

    def bind(self, inputs: Tensors, outputs: Tensors, prefill: bool) -> Run:
        """What runs the step over these tensors, each time it is called; their addresses must stay.

        inputs, outputs  all that the graph has, by its names, contiguous and on `device`
        prefill          whether rows have prompts rather than one token

        Runs are in order with PyTorch's current stream. Raises ValueError for shapes that the graph does not take,
        RuntimeError if the runtime fails.
        """
        ...


class Output(NamedTuple):
    """What a step tells the host, one entry a row.

    decided                whether the graph's candidates were enough to draw the token
    entropy, intervention  as `moi.Mixture`, 0..1
    """

    token: list[int]
    decided: list[bool]
    entropy: list[float]
    intervention: list[float]


class GraphBatch:
    """Rows with their cache, settings and next mixtures, all on the runner's device.

    prompts   token ids row by row
    settings  tensors [B] or [B,P] by input name, but for the noise and the uniforms
    """

    def __init__(self, runner: Runner, manifest: Manifest, prompts: Sequence[Sequence[int]], settings: Tensors) -> None:
        self._runner, self._manifest, self._device = runner, manifest, runner.device
        self._settings = {name: value.to(self._device) for name, value in settings.items()}
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=self._device)
        self._cache = make_cache(manifest, lengths)
        self._allocate(len(prompts))
        self._prompts: dict[str, Tensor] | None = self._padded(prompts)
        self._decode: Run | None = None  # bound to the tensors as they are

    def step(self, noise: Sequence[float], uniforms: Tensor | None = None) -> Output:
        """The next token of each row, drawn with `noise` in [0,1), its mixture with `uniforms` [B,8+K] if at all."""
        self._noise.copy_(torch.tensor(noise))
        if uniforms is not None:
            self._uniforms.copy_(uniforms)
        if self._prompts is not None:
            self._bind(self._prompts, prefill=True)()
            self._prompts = None
            self._cache.advance(prefill=True)
        else:
            run = self._decode or self._bind(self._mixture, prefill=False)
            self._decode = None if self._cache.grows else run
            run()
            self._cache.advance(prefill=False)
        for made, name in FED_BACK.items():
            self._mixture[name].copy_(self._out[made])
        return Output(**{name: self._out[name].tolist() for name in HOST_READS})

    def logits(self, row: int) -> Tensor:
        """Logits float32 [1,V] that the last step's token of `row` was drawn from."""
        return self._out["logits"][row : row + 1].float()

    def replace(self, row: int, mixture: Mixture) -> None:
        """Feed back `mixture`, of one row, instead of what the step made."""
        self._mixture["mix_ids"][row, 0] = mixture.ids[0]
        self._mixture["mix_weights"][row, 0] = mixture.weights[0]

    def finish(self, row: int) -> None:
        """The row has its last token; it stays in the batch and writes nothing that is read."""
        self._cache.finish(row)

    def select(self, rows: Sequence[int]) -> None:
        """Keep only these rows."""
        keep, mixture = torch.tensor(rows, device=self._device), self._mixture
        self._settings = {name: value[keep] for name, value in self._settings.items()}
        self._cache.select(keep)
        self._allocate(len(rows))
        for name, value in mixture.items():
            self._mixture[name].copy_(value[keep])
        self._decode = None

    def _bind(self, mixture: Tensors, prefill: bool) -> Run:
        given = {**mixture, **self._cache.inputs(prefill), "noise": self._noise, "uniforms": self._uniforms}
        given |= self._settings
        return self._runner.bind(given, {**self._out, **self._cache.outputs()}, prefill)

    def _padded(self, prompts: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        """One slot of weight 1 per token [B,T,1]; padding is never attended to."""
        longest = max(map(len, prompts))
        ids = torch.zeros(len(prompts), longest, 1, dtype=torch.int32)
        for row, prompt in enumerate(prompts):
            ids[row, self._cache.columns(len(prompt), longest), 0] = torch.tensor(prompt, dtype=torch.int32)
        ids = ids.to(self._device)
        return {"mix_ids": ids, "mix_weights": torch.ones_like(ids, dtype=torch.float32)}

    def _allocate(self, rows: int) -> None:
        """Buffers of a step of so many rows."""

        def new(dtype: torch.dtype, *shape: int) -> Tensor:
            return torch.zeros(rows, *shape, dtype=dtype, device=self._device)

        slots = self._manifest.slots
        self._noise = new(torch.float32)
        self._uniforms = new(torch.float32, uniform_count(self._manifest.top_k))
        self._mixture = {"mix_ids": new(torch.int32, 1, slots), "mix_weights": new(torch.float32, 1, slots)}
        self._out = {
            "token": new(torch.int64),
            "decided": new(torch.bool),
            "next_mix_ids": new(torch.int32, 1, slots),
            "next_mix_weights": new(torch.float32, 1, slots),
            "entropy": new(torch.float32),
            "intervention": new(torch.float32),
            "logits": new(DTYPES[self._manifest.dtype], self._manifest.vocab),
        }
