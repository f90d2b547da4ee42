"""Slots of a host that samples after the model's own step: mixtures are stored before their tokens are known.

Nothing here is read by the host, so that a CUDA graph can hold all of it.
Dims as in `moi_serving.slots.base`; N tokens of a step.
"""

from __future__ import annotations

import torch
from torch import Tensor

from moi import Mixture, MoIConfig, RowParams
from moi.ops import resolve
from moi.pending import PendingMixture, exclusive_policies
from moi.policies.declaration import uniform_count
from moi_serving.embedding import Lookup
from moi_serving.row_layout import NO_TOKEN, entropy_of, ids_of, position_of, weights_of
from moi_serving.slots.base import Slots
from moi_serving.slots.tables import Tables


class DeferredSlots:
    """Mixtures are completed where they are fed: their first component is the token that is fed there.

    tables  of all request slots, with the last mixtures of each by position
    moi     K, entropy and prior
    """

    def __init__(self, tables: Tables, moi: MoIConfig) -> None:
        self.tables = tables
        self._moi = moi
        self._store = _store_of(tables, moi)
        self._depth = len(tables.mixtures) // len(tables.policy)
        exclusive_policies(tables.mixtures.device)  # made now: a graph that is captured cannot

    def compute(self, slots: Tensor, logits: Tensor, temperature: Tensor, position: Tensor) -> PendingMixture:
        """Pending mixtures of logits float32 [B,V], temperature [B], due at position [B], of `slots` int64 [B]."""
        tables, moi = self.tables, self._moi
        policy, parameters, seed = (each[slots] for each in (tables.policy, tables.parameters, tables.seed))
        # Compiled kernels on a GPU; elsewhere tensor operations, which can be traced.
        kernels = resolve("auto" if logits.is_cuda else "reference", logits.device)
        rows = RowParams(policy, parameters, temperature, kernels.uniforms(seed, position, uniform_count(moi.top_k)))
        unknown = torch.full_like(slots, NO_TOKEN)
        mixture = torch.ops.moi.mix(logits, unknown, *rows, moi.top_k, moi.entropy, moi.prior, "auto")
        return PendingMixture(policy, Mixture(*mixture), True)

    def store(self, slots: Tensor, pending: PendingMixture, position: Tensor) -> None:
        """Keep the mixtures for the tokens that will be fed at position [B]."""
        unknown = torch.full_like(slots, NO_TOKEN)
        self._store.store(self._rows(slots, position), pending._replace(drawn=False), unknown, position, False)

    def apply(self, x: Tensor, lookup: Lookup, slots: Tensor, token: Tensor, position: Tensor, first: Tensor) -> Tensor:
        """x [N,D], the embeddings of `token` [N], with the mixtures that are due for them at `position` [N].

        lookup  ids [n] to inputs [n,D], as the model embeds
        first   [N], the position of the request's first generated token: what is before it is its prompt
        """
        rows = self.tables.mixtures[self._rows(slots, position)]
        due = (position_of(rows) == position) & (position >= first)
        mixture = Mixture(ids_of(rows), weights_of(rows), entropy_of(rows))
        complete = PendingMixture(self.tables.policy[slots], mixture, True).complete(token)
        return torch.where(due[:, None], _embed(lookup, complete.ids, complete.weights), x)

    def _rows(self, slots: Tensor, position: Tensor) -> Tensor:
        return slots * self._depth + position % self._depth


def _embed(lookup: Lookup, ids: Tensor, weights: Tensor) -> Tensor:
    """Inputs [N,D] of mixtures [N,S]."""
    rows = lookup(ids.reshape(-1))
    places = torch.arange(ids.numel(), dtype=torch.int32, device=ids.device).view(ids.shape)
    x: Tensor = torch.ops.moi.embed(places, weights.contiguous(), rows, 0, len(rows), "auto")
    return x


def _store_of(tables: Tables, moi: MoIConfig) -> Slots:
    """Of the device's kind."""
    if tables.mixtures.is_cuda:
        from moi_serving.slots.cuda import GPUSlots

        return GPUSlots(tables, moi, _no_mixer)
    return Slots(tables, moi, _no_mixer)


def _no_mixer(ids: Tensor, weights: Tensor) -> Tensor:
    raise AssertionError("mixtures are completed before they are embedded")
