"""The torch engine along given tokens: at each step, what it would choose from after the same history.

Beside each row runs its twin: the same tokens, but every input off by as much as the backend's rounding may be. Where
a model amplifies rounding (`direct` and small beta on random weights do) the twin drifts away, and from there on
rounding alone decides what a backend generates: nothing can be said of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from moi import MoIConfig
from moi_engines.parity_types import round_to_int4
from moi_engines.protocol import Prompt, SamplingParams, TokenEvent
from moi_engines.request import Row
from moi_engines.torch_engine import TorchEngine

# 2.4 GB in float64. Larger models are followed in float32, whose own rounding the tolerances hold, too.
FLOAT64_PARAMETERS = 300_000_000
_BATCH = 32  # rows and their twins


class Step(NamedTuple):
    """A step of one row: the event of the given token, and the logits [V] and noise it is chosen by.

    drift  total variation distance (0..1) between the distributions of the row and of its twin, the largest so far
    """

    event: TokenEvent
    logits: Tensor
    noise: float
    drift: float


class Reference(TorchEngine):
    """Decodes along given tokens, in float64 up to FLOAT64_PARAMETERS parameters and in float32 beyond.

    weights  "float32", "float16", "bfloat16" or "int4", what the weights are rounded to first: those of the
             backend that is judged, whose arithmetic is in question and not its weights

    It stays on the CPU, beside whatever a backend keeps on a GPU. The op's own arithmetic is float32 by
    definition, and so is what transformers computes in float32 whatever the model's type (norms, rotary angles).
    """

    name = "torch, teacher-forced"

    def __init__(self, model: str | Path, *, weights: str = "float32") -> None:
        dtype = "float32" if weights == "int4" else weights
        super().__init__(model, device="cpu", dtype=dtype, batch_size=_BATCH, implementation="reference")
        decoder = self.checkpoint.model
        if weights == "int4":
            round_to_int4(decoder, self.checkpoint.table)
        wide = sum(tensor.numel() for tensor in decoder.parameters()) <= FLOAT64_PARAMETERS
        decoder.to(torch.float64 if wide else torch.float32)

    def follow(
        self,
        prompts: Sequence[Prompt],
        sampling: Sequence[SamplingParams],
        moi: Sequence[MoIConfig],
        tokens: Sequence[Sequence[int]],
        *,
        rounding: float,
        noise: Sequence[Sequence[float]] | None = None,
    ) -> Iterator[Step]:
        """Steps of all rows, interleaved: row i takes tokens[i] until they or the request end.

        The event of a row's last step has a finish_reason if the request ends there. Tokens are ids of the
        vocabulary; `rounding` is the relative error of each input of the twins.
        """
        given_noise = None if noise is None else _twice(noise)
        rows = self._prepare(_twice(prompts), _twice(sampling), _twice(moi), given_noise)
        self._tokens, self._position = _twice(tokens), [0] * len(rows)
        self._rounding, self._random = rounding, torch.Generator(self.device).manual_seed(0)
        drift = [0.0] * len(prompts)
        for event in self._decode(rows):
            row, twin = divmod(event.row, 2)
            if not twin:
                logits, other, u = self._seen[row]
                drift[row] = max(drift[row], _distance(logits, other))
                yield Step(replace(event, row=row), logits, u, drift[row])

    def _sample(self, logits: Tensor, rows: list[Row], settings: Any) -> Tensor:
        """The given tokens; a row that has none left is over."""
        noise = [next(row.noise, 0.0) for row in rows]
        self._seen = {row.index // 2: (logits[i], logits[i + 1], noise[i]) for i, row in enumerate(rows) if not i % 2}
        chosen = []
        for row in rows:
            given, at = self._tokens[row.index], self._position[row.index]
            self._position[row.index] += 1
            if at >= len(given) and row.finish_reason is None:
                row.finish_reason = "length"  # no event follows: the caller sees that none had a reason
            chosen.append(given[at] if at < len(given) else 0)
        return torch.tensor(chosen, device=self.device)

    def _scaled(self, x: Tensor) -> Tensor:
        scale = self.checkpoint.scale
        x = x.clone() if scale is None else x * scale.to(x.dtype)
        twins = x[1::2]  # rows leave a batch with their twins
        error = torch.randn(twins.shape, generator=self._random, dtype=x.dtype, device=x.device)
        x[1::2] = twins * (1 + self._rounding * error)
        return x


def _twice(values: Sequence[Any]) -> list[Any]:
    """Each value for a row and for its twin."""
    return [value for value in values for _ in range(2)]


def _distance(logits: Tensor, other: Tensor) -> float:
    """Total variation distance of two distributions [V]."""
    return float((torch.softmax(logits, -1) - torch.softmax(other, -1)).abs().sum()) / 2
