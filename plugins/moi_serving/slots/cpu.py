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
from moi.kernels.numba_kernels import NO_UNIFORMS, array_of, variant
from moi.kernels.numba_philox import fill
from moi.pending import exclusive_policies
from moi.policies.declaration import uniform_count
from moi_serving.embedding import Mixer, TableMixer
from moi_serving.slots import numba_kernels
from moi_serving.slots.base import Slots
from moi_serving.slots.tables import Tables


class CPUSlots(Slots):
    """The same in compiled loops."""

    def __init__(self, tables: Tables, moi: MoIConfig, mixer: Mixer) -> None:
        super().__init__(tables, moi, mixer)
        self._bits = tables.mixtures.numpy()
        marks = tables.stop_mixing_token_id, tables.resume_mixing_token_id, tables.resume_policy
        self._marks = tuple(table.numpy() for table in marks)
        self._policy, self._parameters = tables.policy.numpy(), tables.parameters.numpy()
        self._seed, self._exclusive = tables.seed.numpy(), exclusive_policies(tables.policy.device).numpy()
        self._floats = self._bits.view(np.float32)

    def compute(self, slots: Tensor, logits: Tensor, temperature: Tensor, position: Tensor | None = None) -> Any:
        """As `Slots.compute`."""
        moi, at = self._moi, slots.numpy()
        bits, uniforms = np.empty((len(at), self._bits.shape[1]), np.int32), NO_UNIFORMS
        floats = bits.view(np.float32)
        if position is not None:
            uniforms = np.empty((len(at), uniform_count(moi.top_k)), np.float32)
            fill(self._seed[at], position.numpy(), uniforms)
        policies = numba_kernels.compute(
            *(array_of(logits.float()).view(np.int32), temperature.view(-1).numpy(), at),
            *(self._policy, self._parameters, uniforms),
            *variant(logits.shape[1], moi.top_k, moi.entropy, moi.prior),
            *(bits, floats),
        )
        return policies, bits, floats

    def store(self, slots: Tensor, pending: Any, token: Tensor, position: Tensor, may_stop: bool) -> Tensor:
        """As `Slots.store`."""
        policies, bits, floats = pending
        numba_kernels.store(
            *(slots.numpy(), policies, token.numpy(), position.numpy()),
            *(may_stop, self._marks, self._exclusive, self._policy, bits, floats, self._bits),
        )
        return torch.from_numpy(bits)

    def apply(self, x: Tensor, slots: Tensor, token: Tensor, position: Tensor) -> Tensor:
        """As `Slots.apply`, in the memory of x where the table is plain."""
        mixer = self.mixer
        if not isinstance(mixer, TableMixer) or x.dtype != torch.float32 or not x.is_contiguous():
            return super().apply(x, slots, token, position)
        numba_kernels.apply(
            *(self._bits, self._floats, slots.numpy(), token.numpy(), position.numpy()),
            *(mixer.module.weight.detach().numpy(), mixer.start, mixer.end, x.numpy()),
        )
        return x
