"""Shapes, settings and ways to fill logits: what every implementation is tried on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from moi.config import MoIConfig
from moi.policies import load_policies
from moi.policies.declaration import uniform_count
from moi.rows import RowParams
from moi.testing.inputs import Inputs, parameters_of


@dataclass(frozen=True)
class Case:
    """A shape, a setting and a way to fill the logits float32 [B,V]."""

    name: str
    rows: int
    vocab: int
    config: MoIConfig
    fill: Callable[[int, int], Tensor]

    def inputs(self, dtype: torch.dtype = torch.float32, seed: int = 0) -> Inputs:
        """Deterministic arguments: policies, their parameters and temperatures differ from row to row."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            logits = self.fill(self.rows, self.vocab).to(dtype)
            row = torch.arange(self.rows)
            best = logits.float().nan_to_num(nan=-math.inf).argmax(-1) if self.rows else row
            token = torch.where(row % 2 == 0, best, torch.randint(self.vocab, (self.rows,)))
            policy = (row + 1) % len(load_policies())
            temperature = torch.tensor([0.6, 1.0, 0.0, 1.7])[row % 4]
            # As `moi.uniforms` gives them, 0 and the largest among those of single candidates.
            uniforms = torch.randint(1 << 24, (self.rows, uniform_count(self.config.top_k))).float() * 2.0**-24
            uniforms[::3, -3:], uniforms[1::3, -3:] = 0.0, 1 - 2.0**-24
            return Inputs(logits, token, RowParams(policy.int(), parameters_of(policy), temperature, uniforms))

    def table(self, width: int, dtype: torch.dtype, seed: int = 1) -> Tensor:
        """An embedding table [V,width] of unit scale."""
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(self.vocab, width, generator=generator).to(dtype)


def _normal(rows: int, vocab: int) -> Tensor:
    return torch.randn(rows, vocab) * 3


def _ties(rows: int, vocab: int) -> Tensor:
    return torch.randint(-3, 4, (rows, vocab)) / 2


def _flat(rows: int, vocab: int) -> Tensor:
    return torch.zeros(rows, vocab)


def _peaked(rows: int, vocab: int) -> Tensor:
    logits = torch.randn(rows, vocab)
    logits[:, vocab // 2] = 60.0
    return logits


def _masked(rows: int, vocab: int) -> Tensor:
    """A grammar that leaves five ids, and nothing at all in the last row."""
    logits = torch.full((rows, vocab), -math.inf)
    logits[:, 3:8] = torch.randn(rows, 5)
    logits[-1:] = -math.inf
    return logits


def _odd_values(rows: int, vocab: int) -> Tensor:
    """NaN counts as -inf; +inf and huge values stay ordered; -0.0 ties with 0.0 at the top of the middle rows."""
    logits = -torch.randn(rows, vocab).abs()
    logits[:, ::7] = math.nan
    logits[:, 2] = 0.0
    logits[:, 1] = logits[:, 3] = -0.0
    logits[0, 5] = 3e38
    logits[-1, 4:6] = math.inf
    return logits


def _strided(rows: int, vocab: int) -> Tensor:
    return torch.randn(vocab, 2 * rows).t()[::2] * 2


_OFFICIAL = MoIConfig.preset("official")
_PAPER = MoIConfig.preset("paper")

CASES: tuple[Case, ...] = (
    Case("official", 8, 1000, _OFFICIAL, _normal),
    Case("paper", 8, 1000, _PAPER, _normal),
    Case("support of sampling prior", 8, 1000, replace(_OFFICIAL, prior="sampling"), _normal),
    Case("vocab of raw prior", 8, 1000, replace(_PAPER, prior="raw"), _normal),
    Case("ties", 8, 999, _OFFICIAL, _ties),
    Case("flat", 4, 4097, _PAPER, _flat),
    Case("peaked", 8, 1000, _PAPER, _peaked),
    Case("masked", 4, 500, _OFFICIAL, _masked),
    Case("masked, vocab", 4, 500, _PAPER, _masked),
    Case("nan, inf and zeros", 4, 500, _OFFICIAL, _odd_values),
    Case("strided", 6, 700, _PAPER, _strided),
    Case("one candidate", 4, 300, replace(_OFFICIAL, top_k=1), _normal),
    Case("whole vocabulary", 4, 40, replace(_OFFICIAL, top_k=40), _normal),
    Case("one id", 2, 1, replace(_PAPER, top_k=1), _normal),
    Case("no rows", 0, 100, _OFFICIAL, _normal),
    Case("large vocabulary", 2, 151_936, _OFFICIAL, _normal),
    Case("largest vocabulary", 1, 262_144, _PAPER, _normal),
)
