# mypy: disable-error-code="no-untyped-def, untyped-decorator"
"""`moi.philox` as a Triton kernel, one program a row, on Triton's own generator. Importing it needs Triton.

Dims: B rows, U numbers of each, BLOCKS blocks of four words.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from moi.philox import WORDS


@triton.jit
def fill(
    seed_ptr,  # int64 [B]
    position_ptr,  # int64 [B]
    out_ptr,  # float32 [B,U]
    U: tl.constexpr,
    BLOCKS: tl.constexpr,
):
    """The numbers of one row."""
    row = tl.program_id(0).to(tl.int64)
    block = tl.arange(0, BLOCKS)
    place = tl.load(position_ptr + row)
    counter = block.to(tl.uint32)
    low = (counter * 0) + (place & 0xFFFFFFFF).to(tl.uint32)
    high = (counter * 0) + ((place >> 32) & 0xFFFFFFFF).to(tl.uint32)
    a, b, c, d = tl.philox(tl.load(seed_ptr + row), counter, counter * 0, low, high)
    _store(out_ptr + row * U, a, block * 4, U)
    _store(out_ptr + row * U, b, block * 4 + 1, U)
    _store(out_ptr + row * U, c, block * 4 + 2, U)
    _store(out_ptr + row * U, d, block * 4 + 3, U)


@triton.jit
def _store(out_ptr, word, place, U: tl.constexpr):
    """The upper 24 bits as a float32 in [0,1)."""
    tl.store(out_ptr + place, (word >> 8).to(tl.int32).to(tl.float32) * (1.0 / 16777216.0), mask=place < U)


def uniforms(seed: Tensor, position: Tensor, count: int) -> Tensor:
    """As `moi.philox.uniforms`, in one launch."""
    out = torch.empty(len(seed), count, device=seed.device)
    if out.numel() == 0:
        return out
    blocks = 1 << (-(-count // WORDS) - 1).bit_length()
    with torch.cuda.device_of(seed):
        fill[(len(seed),)](seed.long().contiguous(), position.long().contiguous(), out, U=count, BLOCKS=blocks)
    return out
