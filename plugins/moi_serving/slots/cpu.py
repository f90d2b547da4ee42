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
from moi.policies.declaration import uniform_count
from moi_serving.embedding import Mixer, TableMixer
from moi_serving.pending import exclusive_policies
from moi_serving.slots import numba_kernels
from moi_serving.slots.base import Slots
from moi_serving.slots.tables import Tables


class Arrays:
    """Arrays on the memory of tensors, the last of each use: most tensors of a batch stay for many steps."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[Tensor, int, Any]] = {}

    def of(self, use: str, tensor: Tensor) -> Any:
        """The array of a tensor, which may have been given other memory since."""
        last = self._last.get(use)
        if last is None or last[0] is not tensor or last[1] != tensor.data_ptr():
            last = self._last[use] = tensor, tensor.data_ptr(), tensor.detach().numpy()
        return last[2]


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
        self._arrays = Arrays()

    def compute(self, slots: Tensor, logits: Tensor, temperature: Tensor, position: Tensor | None = None) -> Any:
        """As `Slots.compute`."""
        moi, at = self._moi, self._arrays.of("slots", slots)
        bits, uniforms = np.empty((len(at), self._bits.shape[1]), np.int32), NO_UNIFORMS
        floats = bits.view(np.float32)
        if position is not None:
            uniforms = np.empty((len(at), uniform_count(moi.top_k)), np.float32)
            fill(self._seed[at], position.numpy(), uniforms)
        policies = numba_kernels.compute(
            *(array_of(logits.float()).view(np.int32), self._arrays.of("temperature", temperature).reshape(-1), at),
            *(self._policy, self._parameters, uniforms),
            *variant(logits.shape[1], moi.top_k, moi.entropy, moi.prior),
            *(bits, floats),
        )
        return policies, bits, floats

    def store(self, slots: Tensor, pending: Any, token: Tensor, position: Tensor, may_stop: bool) -> Tensor:
        """As `Slots.store`."""
        policies, bits, floats = pending
        numba_kernels.store(
            *(self._arrays.of("slots", slots), policies, token.numpy(), position.numpy()),
            *(may_stop, *self._marks, self._exclusive, self._policy, bits, floats, self._bits),
        )
        return torch.from_numpy(bits)

    def apply(self, x: Tensor, slots: Tensor, token: Tensor, position: Tensor) -> Tensor:
        """As `Slots.apply`, in the memory of x where the table is plain."""
        mixer = self.mixer
        if not isinstance(mixer, TableMixer) or x.dtype != torch.float32 or not x.is_contiguous():
            return super().apply(x, slots, token, position)
        numba_kernels.apply(
            *(self._bits, self._floats, self._arrays.of("slots", slots), token.numpy(), position.numpy()),
            *(self._arrays.of("table", mixer.table), mixer.start, mixer.end, x.numpy()),
        )
        return x
