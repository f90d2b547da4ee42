"""Slots on a CPU: three compiled loops on the memory of the same tables.

A model's step leaves little of anything in the caches, so a host pays for each call into torch or numpy several times
what it costs in a loop. Here values may be looked at, so that only rows are mixed for which a mixture is due.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from moi import MoIConfig
from moi.kernels.numba_kernels import array_of, variant
from moi_serving.row_layout import Tables
from moi_serving.slots import numba_kernels
from moi_serving.slots.base import Mixed, Slots, TableMixed


class CPUSlots(Slots):
    def __init__(self, tables: Tables, moi: MoIConfig, mixed: Mixed) -> None:
        super().__init__(tables, moi, mixed)
        self._bits = tables.mixtures.numpy()
        self._gates = tables.gate.numpy(), tables.reopens.numpy(), tables.resumes.numpy()
        self._policy, self._parameters = tables.policy.numpy(), tables.parameters.numpy()
        self._floats = self._bits.view(np.float32)

    def read(self, slots: Tensor, logits: Tensor, temperature: Tensor) -> Any:
        moi, bits = self._moi, np.empty((len(slots), self._bits.shape[1]), np.int32)
        policies = numba_kernels.read(
            *(array_of(logits.float()).view(np.int32), temperature.numpy(), slots.numpy()),
            *(self._policy, self._parameters, *variant(logits.shape[1], moi.top_k, moi.entropy, moi.prior)),
            *(bits, bits.view(np.float32)),
        )
        return policies, bits

    def leave(self, slots: Tensor, read: Any, token: Tensor, position: Tensor, gated: bool) -> Tensor:
        policies, bits = read
        numba_kernels.leave(
            *(slots.numpy(), policies, token.numpy(), position.numpy()),
            *(gated, *self._gates, self._policy, bits, self._bits),
        )
        return torch.from_numpy(bits)

    def arrive(self, x: Tensor, slots: Tensor, token: Tensor, position: Tensor) -> Tensor:
        mixed = self.mixed
        if not isinstance(mixed, TableMixed) or x.dtype != torch.float32 or not x.is_contiguous():
            return super().arrive(x, slots, token, position)
        numba_kernels.arrive(
            *(self._bits, self._floats, slots.numpy(), token.numpy(), position.numpy()),
            *(mixed.table.detach().numpy(), mixed.start, mixed.end, x.numpy()),
        )
        return x
