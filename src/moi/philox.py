"""Noise that any process can make again: Philox 4x32-10 keyed by a request's seed and a position.

A counter-based generator (Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011): the
numbers of a row depend on its seed and position alone, never on its batch, its rank or what was drawn before. Integers
up to the last step, so that torch, Numba (`moi.kernels.numba_philox`) and Triton (`moi.kernels.triton_philox`) agree
bit for bit.

Word w of a row is word w % 4 of the block whose counter is (w // 4, 0, position, position >> 32), its key the seed's
two halves. Dims: B rows, U numbers of each.
"""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDS = 10
FACTORS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)  # added to the key between rounds
WORDS = 4  # of 32 bits, to a block
_MASK = 0xFFFFFFFF
_BITS = 24  # that a float32 in [0,1) holds exactly

Block = tuple[Tensor, Tensor, Tensor, Tensor]


def uniforms(seed: Tensor, position: Tensor, count: int) -> Tensor:
    """float32 [B,count] in [0,1), multiples of 2^-24, of seeds and positions int64 [B]."""
    seed, position = seed.long()[:, None], position.long()[:, None]
    block = torch.arange(-(-count // WORDS), device=seed.device)[None, :]
    nothing = torch.zeros_like(block)
    counter = (block, nothing, position & _MASK, (position >> 32) & _MASK)
    words = philox(counter, (seed & _MASK, (seed >> 32) & _MASK))
    drawn = torch.stack(words, -1).reshape(len(seed), block.shape[1] * WORDS)[:, :count]
    return (drawn >> (32 - _BITS)).float() * 2.0**-_BITS


def philox(counter: Block, key: tuple[Tensor, Tensor]) -> Block:
    """A block of four words; all are 32 bits in int64, of shapes that broadcast."""
    a, b, c, d = torch.broadcast_tensors(*counter)
    low, high = key
    for _ in range(ROUNDS):
        a, b, c, d = (
            _upper(c, FACTORS[1]) ^ b ^ low,
            (c * FACTORS[1]) & _MASK,
            _upper(a, FACTORS[0]) ^ d ^ high,
            (a * FACTORS[0]) & _MASK,
        )
        low, high = (low + WEYL[0]) & _MASK, (high + WEYL[1]) & _MASK
    return a, b, c, d


def _upper(x: Tensor, factor: int) -> Tensor:
    """The upper half of a product of 32 bits each, which may leave int64: of two halves of the factor."""
    return ((factor >> 16) * x + (((factor & 0xFFFF) * x) >> 16)) >> 16
