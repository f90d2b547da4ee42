# mypy: disable-error-code="no-untyped-def, untyped-decorator"
"""Triton kernel of `moi_serving.slots.cuda`, one program per row. Imported on first use, on a GPU.

Dims: B rows sampled, R request slots, S slots of a mixture, W = 2 S + 2 words of a table row; PAD >= W, a power of two.
"""

import triton
import triton.language as tl


@triton.jit
def kernel(
    slots_ptr,  # int64 [B]
    policy_ptr,  # int32 [B]
    ids_ptr,  # int32 [B,S]
    weights_ptr,  # [B,S], the bits of float32 as int32
    entropy_ptr,  # [B], likewise
    token_ptr,  # integer [B]
    position_ptr,  # integer [B]
    mixtures_ptr,  # int32 [R,W]
    policies_ptr,  # int32 [R]
    gates_ptr,  # int32 [R]
    reopens_ptr,  # int32 [R]
    resumes_ptr,  # int32 [R]
    rows_ptr,  # int32 [B,W]
    NOT_DUE: tl.constexpr,
    S: tl.constexpr,
    PAD: tl.constexpr,
    GATED: tl.constexpr,
):
    row = tl.program_id(0)
    slot = tl.load(slots_ptr + row).to(tl.int64)
    token = tl.load(token_ptr + row).to(tl.int32)
    policy = tl.load(policy_ptr + row)
    if GATED:
        policy = tl.where(token == tl.load(gates_ptr + slot), 0, policy)
        reopened = token == tl.load(reopens_ptr + slot)
        tl.store(policies_ptr + slot, tl.where(reopened, tl.load(resumes_ptr + slot), policy))
    word = tl.arange(0, PAD)
    ids = tl.load(ids_ptr + row * S + word, mask=(word > 0) & (word < S), other=0)
    weights = tl.load(weights_ptr + row * S + word - S, mask=(word >= S) & (word < 2 * S), other=0)
    due = tl.where(policy != 0, tl.load(position_ptr + row).to(tl.int32), NOT_DUE)
    entropy = tl.load(entropy_ptr + row)
    values = tl.where(word < S, tl.where(word == 0, token, ids), weights)
    values = tl.where(word == 2 * S, due, tl.where(word == 2 * S + 1, entropy, values))
    inside = word < 2 * S + 2
    tl.store(rows_ptr + row * (2 * S + 2) + word, values, mask=inside)
    tl.store(mixtures_ptr + slot * (2 * S + 2) + word, values, mask=inside)
