"""What a step does with the tables: compute the mixtures, store them, apply them in the embedding.

Dims: B rows of a batch, V vocabulary, D embedding width; S components and W words of a row as in
`moi_serving.row_layout`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from moi import MoIConfig, RowParams
from moi.ops import resolve
from moi.pending import PendingMixture
from moi.policies.declaration import uniform_count
from moi_serving.embedding import Mixer
from moi_serving.row_layout import NO_TOKEN, NOT_DUE, ids_of, pack, position_of, token_of, weights_of
from moi_serving.slots.tables import Tables


class Slots:
    """In torch calls, which suit any device and never wait for it.

    tables  of all request slots
    moi     K, entropy and prior
    mixer   ids and weights [B,S] to inputs [B,D], as the model embeds
    """

    def __init__(self, tables: Tables, moi: MoIConfig, mixer: Mixer) -> None:
        self.tables = tables
        self.mixer = mixer
        self._moi = moi

    def compute(self, slots: Tensor, logits: Tensor, temperature: Tensor, position: Tensor | None = None) -> Any:
        """Pending mixtures of logits float32 [B,V], temperature [B] or [B,1], of the requests in `slots` int64 [B].

        position  [B], where the tokens will be fed: given if the weights of some row are completed with its token
        """
        tables, moi, kernels = self.tables, self._moi, resolve("auto", slots.device)
        policy, parameters = (each.index_select(0, slots) for each in (tables.policy, tables.parameters))
        rows, token = RowParams(policy, parameters, temperature.view(-1)), slots  # any: no weight depends on it
        if position is not None:
            seed, token = tables.seed.index_select(0, slots), torch.full_like(slots, NO_TOKEN)
            rows = rows._replace(uniforms=kernels.uniforms(seed, position, uniform_count(moi.top_k)))
        mixture = kernels.mix(logits, token, rows, moi.top_k, moi.entropy, moi.prior)
        return PendingMixture(policy, mixture, position is not None)

    def store(self, slots: Tensor, pending: Any, token: Tensor, position: Tensor, may_stop: bool) -> Tensor:
        """Rows int32 [B,W] of the completed mixtures, which are also written to `tables.mixtures`.

        token      [B], sampled from the logits that the mixtures were computed from
        position   [B], where it will be fed
        may_stop   whether some row has a token that stops mixing: a row that sampled its own is plain from that
                   token on, one that sampled what resumes mixing is mixed after that token
        """
        policy, tables = pending.policy, self.tables
        if may_stop:
            policy = policy * (token != tables.stop_mixing_token_id.index_select(0, slots))
            resumes = token == tables.resume_mixing_token_id.index_select(0, slots)
            later = torch.where(resumes, tables.resume_policy.index_select(0, slots), policy)
            tables.policy.index_copy_(0, slots, later)
        rows = pack(pending.complete(token), torch.where(policy != 0, position, NOT_DUE))
        tables.mixtures.index_copy_(0, slots, rows)
        return rows

    def apply(self, x: Tensor, slots: Tensor, token: Tensor, position: Tensor) -> Tensor:
        """x [B,D], the embeddings of `token` [B], with the mixtures that are due for it at `position` [B]."""
        rows = self.tables.mixtures.index_select(0, slots)
        # The slot may have been given to another request since, so both the token and its position must fit.
        due = (token_of(rows) == token) & (position_of(rows) == position)
        return torch.where(due[:, None], self.mixer(ids_of(rows), weights_of(rows)), x)

    @torch.inference_mode()
    def warm_up(self, vocab: int, padding: int = 0) -> None:
        """Plain rows through all kernels: compiled before the server is ready, not in its first request.

        padding  a slot that is no request's
        """
        device = self.tables.mixtures.device
        logits, temperature = torch.zeros(2, vocab, device=device), torch.ones(2, device=device)
        at = torch.full((2,), padding, dtype=torch.int64, device=device)
        token = torch.zeros_like(at)
        for position in (None, token):
            pending = self.compute(at, logits, temperature, position)
            for may_stop in (False, True):
                for integers in (torch.int64, torch.int32):  # greedy tokens, sampled ones
                    rows = self.store(at, pending, token.to(integers), token, may_stop)
        self.apply(self.mixer(ids_of(rows), weights_of(rows)), at, token, token)
