"""Slots on a GPU: one kernel stores the mixtures, where torch takes six launches, ten where mixing may stop."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from moi.pending import exclusive_policies
from moi_serving.row_layout import ENTROPY, NOT_DUE, POSITION
from moi_serving.slots.base import Slots


class GPUSlots(Slots):
    """The same with a kernel that stores."""

    def store(self, slots: Tensor, pending: Any, token: Tensor, position: Tensor, may_stop: bool) -> Tensor:
        """As `Slots.store`."""
        from moi_serving.slots.store_kernel import kernel

        tables, (ids, weights, entropy) = self.tables, pending.mixture
        width = tables.mixtures.shape[1]
        rows = tables.mixtures.new_empty((len(slots), width))
        bits = weights.view(torch.int32), entropy.view(torch.int32)
        with torch.cuda.device_of(rows):
            kernel[(len(slots),)](
                *(slots, pending.policy, ids, *bits, token, position, exclusive_policies(rows.device)),
                *(tables.mixtures, tables.policy, tables.stop_mixing_token_id),
                *(tables.resume_mixing_token_id, tables.resume_policy, rows),
                NOT_DUE=NOT_DUE,
                S=ids.shape[1],
                W=width,
                POSITION=width + POSITION,
                ENTROPY=width + ENTROPY,
                PAD=1 << (width - 1).bit_length(),
                MAY_STOP=may_stop,
                DRAWN=pending.drawn,
                num_warps=1,
            )
        return rows
