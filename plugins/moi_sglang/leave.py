"""Leaving the mixtures of sampled tokens in the tables: one kernel on a GPU, a few torch calls elsewhere.

Dims: B rows sampled, R request slots, S = K + 1, W = 2 S + 2 as in `moi_sglang.tables`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from moi import Mixture
from moi_sglang.tables import NOT_DUE, Tables, pack


def leave(
    tables: Tables, slots: Tensor, policy: Tensor, mixture: Mixture, token: Tensor, position: Tensor, gated: bool
) -> Tensor:
    """Rows int32 [B,W], which are also written to `tables.mixtures` at `slots` int64 [B].

    policy    int32 [B], as `tables.policy` has it: code 0 is fed plainly
    mixture   of the logits that `token` [B] was sampled from; slot 0 of its ids does not matter
    position  [B], where the token will be fed
    gated     whether to look at `tables.gate`: a row that sampled its gate is plain from now on
    """
    run = _launch if tables.mixtures.is_cuda else _compose
    return run(tables, slots, policy, mixture, token, position, gated)


def _compose(
    tables: Tables, slots: Tensor, policy: Tensor, mixture: Mixture, token: Tensor, position: Tensor, gated: bool
) -> Tensor:
    if gated:
        policy = policy * (token != tables.gate.index_select(0, slots))
        tables.policy.index_copy_(0, slots, policy)
    rows = pack(mixture, token, torch.where(policy != 0, position, NOT_DUE))
    tables.mixtures.index_copy_(0, slots, rows)
    return rows


def _launch(
    tables: Tables, slots: Tensor, policy: Tensor, mixture: Mixture, token: Tensor, position: Tensor, gated: bool
) -> Tensor:
    from moi_sglang.leave_triton import kernel

    width = tables.mixtures.shape[1]
    rows = tables.mixtures.new_empty((len(slots), width))
    bits = mixture.weights.view(torch.int32), mixture.entropy.view(torch.int32)
    with torch.cuda.device_of(rows):
        kernel[(len(slots),)](
            *(slots, policy, mixture.ids, *bits, token, position),
            *(tables.mixtures, tables.policy, tables.gate, rows),
            NOT_DUE=NOT_DUE,
            S=mixture.ids.shape[1],
            PAD=1 << (width - 1).bit_length(),
            GATED=gated,
            num_warps=1,
        )
    return rows
