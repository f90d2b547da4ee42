"""`moi.philox` compiled by Numba. Importing it needs Numba.

Dims: B rows, U numbers of each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from moi.kernels.numba_cache import compiled, kept
from moi.philox import FACTORS, ROUNDS, WEYL, WORDS

_FACTORS = (np.uint64(FACTORS[0]), np.uint64(FACTORS[1]))
_WEYL = (np.uint64(WEYL[0]), np.uint64(WEYL[1]))
_MASK, _HALF, _SPARE = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(8)
_UNIT = np.float32(2.0**-24)


@compiled
def philox(a: Any, b: Any, c: Any, d: Any, low: Any, high: Any) -> Any:
    """A block of four words; all are 32 bits in uint64."""
    for _ in range(ROUNDS):
        first, second = a * _FACTORS[0], c * _FACTORS[1]
        a, b, c, d = (second >> _HALF) ^ b ^ low, second & _MASK, (first >> _HALF) ^ d ^ high, first & _MASK
        low, high = (low + _WEYL[0]) & _MASK, (high + _WEYL[1]) & _MASK
    return a, b, c, d


@kept
def fill(seed: Any, position: Any, out: Any) -> None:
    """out float32 [B,U] of seeds and positions int64 [B]."""
    for b in range(len(out)):
        key, place = np.uint64(seed[b]), np.uint64(position[b])
        for start in range(0, out.shape[1], WORDS):
            block = np.uint64(start // WORDS)
            words = philox(block, np.uint64(0), place & _MASK, place >> _HALF, key & _MASK, key >> _HALF)
            for i in range(min(WORDS, out.shape[1] - start)):
                out[b, start + i] = np.float32(words[i] >> _SPARE) * _UNIT


def uniforms(seed: Tensor, position: Tensor, count: int) -> Tensor:
    """As `moi.philox.uniforms`, on a CPU."""
    out = torch.empty(len(seed), count)
    fill(seed.long().contiguous().numpy(), position.long().contiguous().numpy(), out.numpy())
    return out
