"""Random numbers of a row: the noise that turns a distribution into a token, and the uniforms of policies that draw.

Both are explicit, so that every engine can be given the same.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from moi import uniforms
from moi.policies import policy_named

if TYPE_CHECKING:
    from moi_engines.request import SequenceState

_BITS = 24  # a float32 holds them exactly, so the noise is the same number in every backend


def noise_stream(seed: int) -> Iterator[float]:
    """Uniform numbers in [0,1), the same for a seed on every platform and Python version."""
    generator = random.Random(seed)
    while True:
        yield generator.getrandbits(_BITS) / (1 << _BITS)


def drawn_uniforms(rows: Sequence[SequenceState], device: torch.device) -> Tensor | None:
    """float32 [B,8+K] of the tokens that come next, by each row's seed and position; None where no policy draws."""
    if not any(policy_named(row.moi.policy).draws for row in rows):
        return None
    seed = torch.tensor([row.seed for row in rows], device=device)
    position = torch.tensor([row.position for row in rows], device=device)
    return uniforms(seed, position, rows[0].moi.top_k)
