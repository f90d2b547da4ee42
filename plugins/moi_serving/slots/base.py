"""What the hooks do with the tables in a step: read the logits, leave the mixture, let it arrive in the embedding.

Dims: B rows of a batch, V vocabulary, D embedding width; S = K + 1 and W = 2 S + 2 as in `moi_serving.row_layout`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from moi import Mixture, MoIConfig, RowParams
from moi.ops import resolve
from moi_serving.row_layout import NOT_DUE, Tables, ids_of, pack, position_of, weights_of

Mixed = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class TableMixed:
    """Mixes rows of `module.weight` [rows,D], which holds the ids start..end-1 and is embedded as it is."""

    module: Any
    start: int
    end: int

    @property
    def table(self) -> Tensor:
        weight: Tensor = self.module.weight  # looked up each time: servers take new weights while they run
        return weight

    def __call__(self, ids: Tensor, weights: Tensor) -> Tensor:
        return mix_rows(self.table, ids, weights, self.start, self.end)


def mix_rows(table: Tensor, ids: Tensor, weights: Tensor, start: int, end: int) -> Tensor:
    """As `moi.embed`, without its checks."""
    x = table.new_empty((len(ids), table.shape[1]))
    resolve("auto", table.device).embed(ids, weights, table, start, end, x)
    return x


class Read(NamedTuple):
    """Of the logits of a step: the rows' policies [B], code 0 is fed plainly, and their mixtures but for the token."""

    policy: Tensor
    mixture: Mixture


class Slots:
    """In torch calls, which suit any device and never wait for it.

    tables  of all request slots
    moi     K, entropy and prior
    mixed   ids and weights [B,S] to inputs [B,D], as the model embeds
    """

    def __init__(self, tables: Tables, moi: MoIConfig, mixed: Mixed) -> None:
        self.tables = tables
        self.mixed = mixed
        self._moi = moi
        self._mix = resolve("auto", tables.mixtures.device).mix

    def read(self, slots: Tensor, logits: Tensor, temperature: Tensor) -> Any:
        """What `leave` wants of logits float32 [B,V] and temperature [B] of the requests in `slots` int64 [B]."""
        moi, anything = self._moi, slots  # `leave` puts the token in its place
        policy, parameters = (each.index_select(0, slots) for each in (self.tables.policy, self.tables.parameters))
        rows = RowParams(policy, parameters, temperature)
        return Read(policy, self._mix(logits, anything, rows, moi.top_k, moi.entropy, moi.prior))

    def leave(self, slots: Tensor, read: Any, token: Tensor, position: Tensor, gated: bool) -> Tensor:
        """Rows int32 [B,W], which are also written to `tables.mixtures`.

        token     [B], sampled from the logits that were read
        position  [B], where it will be fed
        gated     whether to look at the gates: a row that sampled its gate is plain from that token on,
                  one that sampled what reopens it mixes after that token
        """
        policy = read.policy
        if gated:
            policy = policy * (token != self.tables.gate.index_select(0, slots))
            reopened = token == self.tables.reopens.index_select(0, slots)
            later = torch.where(reopened, self.tables.resumes.index_select(0, slots), policy)
            self.tables.policy.index_copy_(0, slots, later)
        rows = pack(read.mixture, token, torch.where(policy != 0, position, NOT_DUE))
        self.tables.mixtures.index_copy_(0, slots, rows)
        return rows

    def arrive(self, x: Tensor, slots: Tensor, token: Tensor, position: Tensor) -> Tensor:
        """x [B,D], the embeddings of `token` [B], with the mixtures that are due for it at `position` [B]."""
        rows = self.tables.mixtures.index_select(0, slots)
        ids = ids_of(rows)
        # A slot may have been given to another request since: the token and its position must both fit.
        due = (ids[:, 0] == token) & (position_of(rows) == position)
        return torch.where(due[:, None], self.mixed(ids, weights_of(rows)), x)
