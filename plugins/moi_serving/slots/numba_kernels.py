# mypy: disable-error-code="no-untyped-def"
"""Loops of `moi_serving.slots.cpu` that Numba compiles: one call where numpy takes ten. Importing it needs Numba.

`bits` and `floats` are the same rows [n,W] as int32 and as float32. Dims as in `moi_serving.slots.base`.
"""

import numpy as np

from moi.kernels.numba_cache import compiled, kept
from moi.kernels.numba_kernels import compiled_mix
from moi.kernels.numba_loops import embed, normalise
from moi_serving.row_layout import ENTROPY, NO_TOKEN, NOT_DUE, POSITION, TOKEN, component_count

_mix = compiled_mix()
_size = compiled(component_count)


@kept
def compute(logits, temperature, slots, policy, parameters, uniforms, over_vocab, sampling, inverse_log, bits, floats):
    """Mixtures of logits [B,V], as bits, into rows [B,W]; the policies of the rows [B]."""
    size, policies, own = _size(bits.shape[1]), policy[slots], parameters[slots]
    ids, weights, h = bits[:, :size], floats[:, size : 2 * size], floats[:, ENTROPY]
    unknown = np.full(len(slots), NO_TOKEN)
    _mix(logits, unknown, policies, own, temperature, uniforms, over_vocab, sampling, inverse_log, ids, weights, h)
    return policies


@kept
def store(slots, policies, token, position, may_stop, marks, exclusive, policy, bits, floats, mixtures):
    """Completes the rows [B,W] and copies them into the table [R,W]. marks: the tables of the tokens that stop and
    resume mixing, and of the policy that it resumes with."""
    size, (stop_token, resume_token, resume_policy) = _size(bits.shape[1]), marks
    for b in range(len(slots)):
        slot, plain = slots[b], policies[b] == 0
        if may_stop and token[b] == stop_token[slot]:
            plain, policy[slot] = True, 0
        if may_stop and token[b] == resume_token[slot]:
            policy[slot] = resume_policy[slot]
        bits[b, TOKEN] = token[b]
        if exclusive[policies[b]]:
            for i in range(1, size):  # the candidate that is the token has no share
                if bits[b, i] == token[b]:
                    floats[b, size + i] = 0
            normalise(floats[b, size : 2 * size])
        bits[b, POSITION] = NOT_DUE if plain else position[b]
        for word in range(bits.shape[1]):  # copied as a whole, Numba compiles the message of unlike shapes for seconds
            mixtures[slot, word] = bits[b, word]


@kept
def apply(mixtures, floats, slots, token, position, table, start, end, x):
    """Rows of x [B,D] whose mixture is due become that of a float32 table [.,D], which holds the ids start..end-1."""
    size = _size(mixtures.shape[1])
    for b in range(len(slots)):
        slot = slots[b]
        if mixtures[slot, TOKEN] == token[b] and mixtures[slot, POSITION] == position[b]:
            rows = slice(slot, slot + 1)
            embed(mixtures[rows, :size], floats[rows, size : 2 * size], table, start, end, x[b : b + 1])
