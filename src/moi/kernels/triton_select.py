# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-any-return, assignment"
"""Triton kernel `select`: exact candidates, entropy and weights of one row per program.

The K largest logits lie in the K first groups by (maximum descending, index ascending): otherwise K other groups
would each hold a logit that comes before one of them. So only those groups are read again.

Order is that of one int64 key per element, (value, inverted index): unique, hence ties have one answer.
Dims: K candidates, S = K + 1 slots, SHORT >= K places of a short list, BINS >= K parts of a tournament.
"""

import triton
import triton.language as tl

from moi.kernels.triton_scan import finite, inverse_temperature, times_exponential
from moi.policies.declaration import DRAWN

_LAST = tl.constexpr(0x7FFFFFFF)
_LOWEST = tl.constexpr(-0x80000000)
_NOTHING = tl.constexpr(-0x8000000000000000)
_DRAWN = tl.constexpr(len(DRAWN))


@triton.jit
def _key(x, index, valid):
    """int64 key, larger comes first: by float32 x descending (-0.0 equals 0.0), then index ascending; invalid last."""
    bits = x.to(tl.int32, bitcast=True)
    bits = tl.where(bits == _LOWEST, 0, bits)
    value = tl.where(valid, tl.where(bits >= 0, bits, bits ^ _LAST), _LOWEST)
    return (value.to(tl.int64) << 32) | (index ^ _LAST).to(tl.int64)


@triton.jit
def _index(key):
    return ((key & _LAST) ^ _LAST).to(tl.int32)


@triton.jit
def _value(key):
    bits = (key >> 32).to(tl.int32)
    return tl.where(bits >= 0, bits, bits ^ _LAST).to(tl.float32, bitcast=True)


@triton.jit
def _rank(keys, scratch_ptr, N: tl.constexpr):
    """How many of the unique keys [N] come before each. A loop over scratch keeps the code and registers small."""
    tl.store(scratch_ptr + tl.arange(0, N), keys)
    tl.debug_barrier()
    before = tl.zeros([N], tl.int32)
    for first in range(0, N, 16):
        others = tl.load(scratch_ptr + first + tl.arange(0, 16))
        before += tl.sum((others[None, :] > keys[:, None]).to(tl.int32), 1)
    return before


@triton.jit
def _shorten(keys, list_ptr, scratch_ptr, K: tl.constexpr, SIZE: tl.constexpr, BINS: tl.constexpr, SHORT: tl.constexpr):
    """The K largest of unique keys [SIZE] among at most SHORT, in any order; the other places hold `_NOTHING`.

    The K-th largest of the maxima of any BINS parts is at most the K-th largest key, and few keys reach it where
    the parts interleave. Where many do all the same, the K largest are taken one by one.
    """
    bests = tl.max(tl.reshape(keys, [SIZE // BINS, BINS]), 0)
    bound = tl.max(tl.where(_rank(bests, scratch_ptr, BINS) == K - 1, bests, _NOTHING), 0)
    keep = (keys >= bound).to(tl.int32)
    count = tl.sum(keep, 0)
    if count <= SHORT:
        tl.store(list_ptr + tl.cumsum(keep, 0) - 1, keys, mask=keep != 0)
    else:
        for place in range(K):
            best = tl.max(keys, 0)
            tl.store(list_ptr + place, best)
            keys = tl.where(keys == best, _NOTHING, keys)
        count = K
    tl.debug_barrier()  # the list is read by other threads than wrote it
    place = tl.arange(0, SHORT)
    return tl.load(list_ptr + place, mask=place < count, other=_NOTHING)


@triton.jit
def _candidates(
    logits_ptr,
    maxima_ptr,
    lists_ptr,
    vocab,
    stride_id,
    groups,
    K: tl.constexpr,
    K_PAD: tl.constexpr,
    GROUP: tl.constexpr,
    GROUPS_PAD: tl.constexpr,
    BINS: tl.constexpr,
    SHORT: tl.constexpr,
):
    """Keys of the K largest logits of the row in order, int64 [K_PAD]; only the first K mean anything."""
    group = tl.arange(0, GROUPS_PAD)
    real = group < groups
    keys = _key(tl.load(maxima_ptr + group, mask=real, other=float("-inf")), group, real)
    group = _index(_shorten(keys, lists_ptr, lists_ptr + 2 * SHORT, K, GROUPS_PAD, BINS, SHORT))
    # Places without a group hold index _LAST; ids past the vocabulary stay distinct through their place.
    place = tl.arange(0, SHORT)
    group = tl.where(group < groups, group, GROUPS_PAD + place)
    ids = group[:, None] * GROUP + tl.arange(0, GROUP)[None, :]
    real = ids < vocab
    x = tl.load(logits_ptr + ids.to(tl.int64) * stride_id, mask=real, other=float("-inf"))
    keys = tl.reshape(_key(finite(x), ids, real), [SHORT * GROUP])
    keys = _shorten(keys, lists_ptr + SHORT, lists_ptr + 2 * SHORT + BINS, K, SHORT * GROUP, BINS, SHORT)
    ordered = _rank(keys, lists_ptr, SHORT)[None, :] == tl.arange(0, K_PAD)[:, None]
    return tl.max(tl.where(ordered, keys[None, :], _NOTHING), 1)


@triton.jit
def _entropy(total, weighted, inverse_log):
    """H = ln Z - S / Z over ln of the support, in 0..1; 0 for an empty row and a support of one (inverse_log 0)."""
    safe = tl.where(total > 0, total, 1.0)
    return tl.minimum(tl.maximum((tl.log(safe) - weighted / safe) * inverse_log, 0.0), 1.0)


@triton.jit
def _vocab_entropy(partials_ptr, peak, inverse, tiles, inverse_log, TILES_PAD: tl.constexpr):
    """Entropy over the whole vocabulary from the tiles' partials, summed in an order that depends on V alone."""
    tile = tl.arange(0, TILES_PAD)
    m = tl.load(partials_ptr + tile * 3, mask=tile < tiles, other=float("-inf"))
    z = tl.load(partials_ptr + tile * 3 + 1, mask=tile < tiles, other=0.0)
    s = tl.load(partials_ptr + tile * 3 + 2, mask=tile < tiles, other=0.0)
    shift = (m - peak) * inverse
    scale = tl.exp(shift)
    weighted = scale * s + times_exponential(shift, scale) * z
    return _entropy(tl.sum(scale * z, 0), tl.sum(weighted, 0), inverse_log)


@triton.jit
def exp(x):
    """For policies: looked up when called, as Triton's interpreter wants it."""
    return tl.exp(x)


@triton.jit
def log(x):
    """For policies, as `exp`."""
    return tl.log(x)


@triton.jit
def _picked(given, PLACES: tl.constexpr, CODE: tl.constexpr):
    """The entries of a tuple at the constant places of one policy, as a tuple."""
    picked = (given[PLACES[CODE][0]],)
    for i in tl.static_range(1, len(PLACES[CODE])):
        picked = picked + (given[PLACES[CODE][i]],)  # noqa: RUF005  (Triton's tuples)
    return picked


@triton.jit
def _normalised(own, others):
    """Shares divided by their sum; plain where they sum to nothing."""
    total = own + tl.sum(others, 0)
    real = total > 0
    total = tl.where(real, total, 1.0)
    return tl.where(real, own / total, 1.0), tl.where(real, others / total, 0.0)


@triton.jit
def select(
    logits_ptr,  # [B,V], any strides
    token_ptr,  # int32 or int64 [B]
    policy_ptr,  # int32 or int64 [B]
    parameters_ptr,  # float32 [B,P]
    temperature_ptr,  # float32 [B]
    uniforms_ptr,  # float32 [B,U+K], not read if U is 0
    maxima_ptr,  # from `scan`
    partials_ptr,  # from `scan`
    lists_ptr,  # int64 [B, 2 * (SHORT + BINS)], scratch
    ids_ptr,  # int32 [B,S]
    weights_ptr,  # float32 [B,S]
    entropy_ptr,  # float32 [B]
    vocab,
    stride_row,
    stride_id,
    groups,
    tiles,
    inverse_log,
    K: tl.constexpr,
    K_PAD: tl.constexpr,
    GROUP: tl.constexpr,
    GROUPS_PAD: tl.constexpr,
    TILES_PAD: tl.constexpr,
    BINS: tl.constexpr,
    SHORT: tl.constexpr,
    VOCAB_ENTROPY: tl.constexpr,
    SAMPLING: tl.constexpr,
    P: tl.constexpr,
    U: tl.constexpr,  # uniforms that candidates share; 0: no policy draws
    BEFORE: tl.constexpr,  # whether some policy asks for the mass before a candidate
    RULES: tl.constexpr,  # the policies' functions in the order of their codes, compiled into this kernel
    PLACES: tl.constexpr,  # for each, where what it asks for stands in `given`
    NORMALISED: tl.constexpr,  # for each, whether its weights are shares yet
    RULES_KEY: tl.constexpr,  # names their source in Triton's cache, which looks at no function inside a tuple
):
    """Exact candidates, entropy and weights of one row, whose sizes and policies are constants of the kernel."""
    row = tl.program_id(0).to(tl.int64)
    keys = _candidates(
        logits_ptr + row * stride_row,
        maxima_ptr + row * groups,
        lists_ptr + row * (2 * (SHORT + BINS)),
        vocab,
        stride_id,
        groups,
        K,
        K_PAD,
        GROUP,
        GROUPS_PAD,
        BINS,
        SHORT,
    )
    slot = tl.arange(0, K_PAD)
    x = tl.where(slot < K, _value(keys), float("-inf"))
    peak = tl.max(x, 0)
    empty = peak == float("-inf")
    peak = tl.where(empty, 0.0, peak)
    inverse = inverse_temperature(temperature_ptr, row, SAMPLING)
    d = (x - peak) * inverse
    e = tl.exp(d)
    total = tl.sum(e, 0)
    p = e / tl.where(empty, 1.0, total)
    if VOCAB_ENTROPY:
        h = _vocab_entropy(partials_ptr + row * tiles * 3, peak, inverse, tiles, inverse_log, TILES_PAD)
    else:
        h = _entropy(total, tl.sum(times_exponential(d, e), 0), inverse_log)
    policy = tl.where(empty, 0, tl.load(policy_ptr + row))
    before = tl.cumsum(p, 0) - p if BEFORE else p
    token = tl.load(token_ptr + row).to(tl.int32)
    # In the order of moi.policies.declaration.ARGUMENTS; the row's parameters behind them.
    given = (p, h, slot.to(tl.float32), before, tl.max(p, 0), (_index(keys) != token).to(tl.float32))
    drawn = uniforms_ptr + row * (U + K)
    if U:
        given = given + (tl.load(drawn + U + slot, mask=slot < K, other=0.5),)  # noqa: RUF005
        for place in tl.static_range(U):
            given = given + (tl.load(drawn + place),)  # noqa: RUF005
    else:
        for _ in tl.static_range(_DRAWN):
            given = given + (h,)  # noqa: RUF005  (keeps the places: nobody asks)
    for column in tl.static_range(P):
        given = given + (tl.load(parameters_ptr + row * P + column),)  # noqa: RUF005
    # The two columns behind the policies' own: outside these entropies a row is fed plainly.
    outside = (h < tl.load(parameters_ptr + row * P + P - 2)) | (h > tl.load(parameters_ptr + row * P + P - 1))
    policy = tl.where(outside, 0, policy)
    own, others = RULES[0](*_picked(given, PLACES, 0))
    for code in tl.static_range(1, len(RULES)):
        own_here, others_here = RULES[code](*_picked(given, PLACES, code))
        if NORMALISED[code]:
            own_here, others_here = _normalised(own_here, tl.where(slot < K, others_here, 0.0))
        own = tl.where(policy == code, own_here, own)
        others = tl.where(policy == code, others_here, others)
    out = row * (K + 1)
    tl.store(ids_ptr + out, token)
    tl.store(weights_ptr + out, own)
    tl.store(ids_ptr + out + 1 + slot, _index(keys), mask=slot < K)
    tl.store(weights_ptr + out + 1 + slot, others, mask=slot < K)
    tl.store(entropy_ptr + row, h)
