# mypy: disable-error-code="no-untyped-def, untyped-decorator"
"""Triton kernel of `moi_serving.slots.cuda`, one program per row. Imported on first use, on a GPU.

Dims: B rows sampled, R request slots, S components of a mixture, W words of a row, whose
mixture is due at the word POSITION; PAD >= W, a power of two.
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
    exclusive_ptr,  # bool by code of a policy
    mixtures_ptr,  # int32 [R,W]
    policies_ptr,  # int32 [R]
    stop_tokens_ptr,  # int32 [R]
    resume_tokens_ptr,  # int32 [R]
    resume_policies_ptr,  # int32 [R]
    rows_ptr,  # int32 [B,W]
    NOT_DUE: tl.constexpr,
    S: tl.constexpr,
    W: tl.constexpr,
    POSITION: tl.constexpr,
    ENTROPY: tl.constexpr,
    PAD: tl.constexpr,
    MAY_STOP: tl.constexpr,
    DRAWN: tl.constexpr,
):
    """Complete one row and store it: in rows, and in the table under its slot."""
    row = tl.program_id(0)
    slot = tl.load(slots_ptr + row).to(tl.int64)
    token = tl.load(token_ptr + row).to(tl.int32)
    policy = tl.load(policy_ptr + row)
    word = tl.arange(0, PAD)
    weights = tl.load(weights_ptr + row * S + word - S, mask=(word >= S) & (word < 2 * S), other=0)
    if DRAWN:
        exclusive = tl.load(exclusive_ptr + policy) != 0
        candidate = tl.load(ids_ptr + row * S + word - S, mask=(word > S) & (word < 2 * S), other=-1)
        shares = tl.where(exclusive & (candidate == token), 0.0, weights.to(tl.float32, bitcast=True))
        total = tl.sum(shares, 0)
        empty = exclusive & (total <= 0)  # nothing else had a share: plain
        shares = shares / tl.where(exclusive & (total > 0), total, 1.0)
        shares = tl.where(empty, tl.where(word == S, 1.0, 0.0), shares)
        weights = shares.to(tl.int32, bitcast=True)
    if MAY_STOP:
        policy = tl.where(token == tl.load(stop_tokens_ptr + slot), 0, policy)
        resumes = token == tl.load(resume_tokens_ptr + slot)
        tl.store(policies_ptr + slot, tl.where(resumes, tl.load(resume_policies_ptr + slot), policy))
    ids = tl.load(ids_ptr + row * S + word, mask=(word > 0) & (word < S), other=0)
    due = tl.where(policy != 0, tl.load(position_ptr + row).to(tl.int32), NOT_DUE)
    entropy = tl.load(entropy_ptr + row)
    values = tl.where(word < S, tl.where(word == 0, token, ids), weights)
    values = tl.where(word == POSITION, due, tl.where(word == ENTROPY, entropy, values))
    inside = word < W
    tl.store(rows_ptr + row * W + word, values, mask=inside)
    tl.store(mixtures_ptr + slot * W + word, values, mask=inside)
