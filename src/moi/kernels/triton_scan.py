# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-any-return"
"""Triton kernel `scan`: the one streaming read of the logits.

Dims: B rows, V vocabulary, GROUP consecutive ids to a group, GROUPS groups to a tile, one program per (row, tile).
Tiles depend on V alone, never on the batch: a row's results are the same bits whatever it is batched with.
"""

import triton
import triton.language as tl

_FLOAT32_MAX = tl.constexpr(3.4028234663852886e38)


@triton.jit
def finite(x):
    """Any float as the float32 the method reads: NaN as -inf, +inf as the largest number."""
    x = x.to(tl.float32)
    return tl.where(x != x, float("-inf"), tl.minimum(x, _FLOAT32_MAX))


@triton.jit
def inverse_temperature(temperature_ptr, row, SAMPLING: tl.constexpr):
    """1 / tau: 1 for the raw prior and for greedy rows. Finite, so that 0 / tau stays 0 for the tiniest tau."""
    if SAMPLING:
        tau = tl.load(temperature_ptr + row)
        inverse = tl.minimum(1.0 / tl.where(tau > 0, tau, 1.0), _FLOAT32_MAX)
    else:
        inverse = 1.0
    return inverse


@triton.jit
def times_exponential(d, e):
    """d e^d, given d <= 0 and e = e^d; 0 where e is: below -128, where 0 * -inf would be NaN."""
    return tl.maximum(d, -128.0) * e


@triton.jit
def scan(
    logits_ptr,  # [B,V], any strides
    temperature_ptr,  # float32 [B]
    maxima_ptr,  # float32 [B, groups]: the largest logit of each group
    partials_ptr,  # float32 [B, tiles, 3]: m, Z = sum e^d, S = sum d e^d with d = (x - m) / tau
    vocab,
    stride_row,
    stride_id,
    groups,
    tiles,
    GROUP: tl.constexpr,
    GROUPS: tl.constexpr,
    VOCAB_ENTROPY: tl.constexpr,
    SAMPLING: tl.constexpr,
):
    """Maxima of the groups of one tile, and what it adds to the entropy over the vocabulary."""
    row = tl.program_id(0).to(tl.int64)
    tile = tl.program_id(1)
    group = tile * GROUPS + tl.arange(0, GROUPS)
    ids = group[:, None] * GROUP + tl.arange(0, GROUP)[None, :]
    x = tl.load(
        logits_ptr + row * stride_row + ids.to(tl.int64) * stride_id,
        mask=ids < vocab,
        other=float("-inf"),
    )
    x = finite(x)
    maxima = tl.max(x, 1)
    tl.store(maxima_ptr + row * groups + group, maxima, mask=group < groups)
    if VOCAB_ENTROPY:
        peak = tl.max(maxima, 0)
        # A tile of -inf alone: any finite peak gives e^d = 0 throughout.
        d = (x - tl.where(peak == float("-inf"), 0.0, peak)) * inverse_temperature(temperature_ptr, row, SAMPLING)
        e = tl.exp(d)
        part = partials_ptr + (row * tiles + tile) * 3
        tl.store(part, peak)
        tl.store(part + 1, tl.sum(tl.sum(e, 1), 0))
        tl.store(part + 2, tl.sum(tl.sum(times_exponential(d, e), 1), 0))
