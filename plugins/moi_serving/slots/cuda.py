"""Slots on a GPU: one kernel leaves the mixtures, where torch takes six launches, ten with gates."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from moi_serving.row_layout import NOT_DUE
from moi_serving.slots.base import Slots


class GPUSlots(Slots):
    def leave(self, slots: Tensor, read: Any, token: Tensor, position: Tensor, gated: bool) -> Tensor:
        from moi_serving.slots.store_kernel import kernel

        tables, (ids, weights, entropy) = self.tables, read.mixture
        width = tables.mixtures.shape[1]
        rows = tables.mixtures.new_empty((len(slots), width))
        bits = weights.view(torch.int32), entropy.view(torch.int32)
        with torch.cuda.device_of(rows):
            kernel[(len(slots),)](
                *(slots, read.policy, ids, *bits, token, position),
                *(tables.mixtures, tables.policy, tables.gate, tables.reopens, tables.resumes, rows),
                NOT_DUE=NOT_DUE,
                S=ids.shape[1],
                PAD=1 << (width - 1).bit_length(),
                GATED=gated,
                num_warps=1,
            )
        return rows
