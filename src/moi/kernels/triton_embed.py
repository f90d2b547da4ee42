# mypy: disable-error-code="no-untyped-def, untyped-decorator"
"""Triton kernel `gather_mix`: the weighted sum of embedding rows, one program per (row, tile of the width).

Dims: B rows, S slots, D embedding width, SLOTS rows of the table in flight at a time, WIDTH columns to a program.
"""

import triton
import triton.language as tl


@triton.jit
def gather_mix(
    ids_ptr,  # int32 [B,S], rows ids_row apart
    weights_ptr,  # float32 [B,S], rows weights_row apart
    table_ptr,  # [rows,D], any strides: the embeddings of ids start, start + 1, ...
    out_ptr,  # [B,D], any strides
    start,
    end,
    width,
    ids_row,
    weights_row,
    table_row,
    table_column,
    out_row,
    out_column,
    S: tl.constexpr,
    SLOTS: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """Some columns of the embedding of one row's mixture."""
    row = tl.program_id(0).to(tl.int64)
    column = (tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)).to(tl.int64)
    inside = column < width
    x = tl.zeros([WIDTH], tl.float32)
    for first in tl.static_range(0, S, SLOTS):
        slot = first + tl.arange(0, SLOTS)
        ids = tl.load(ids_ptr + row * ids_row + slot, mask=slot < S, other=-1)
        weights = tl.load(weights_ptr + row * weights_row + slot, mask=slot < S, other=0.0)
        # Rows of weight zero are never read: they may hold inf or NaN.
        live = (ids >= start) & (ids < end) & (weights != 0)
        e = tl.load(
            table_ptr + (ids - start).to(tl.int64)[:, None] * table_row + column[None, :] * table_column,
            mask=live[:, None] & inside[None, :],
            other=0.0,
        )
        weights = tl.where(live, weights, 0.0)
        x += tl.sum(e.to(tl.float32) * weights[:, None], 0)
    tl.store(out_ptr + row * out_row + column * out_column, x.to(out_ptr.dtype.element_ty), mask=inside)
