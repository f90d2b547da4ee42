"""A mixture whose token comes later.

The weights of a mixture hardly depend on the sampled token: it is component 0 of the ids, and an exclusive policy has
no share for the candidate that equals it. So the mixture is computed while the logits are at hand, for a token that is
no candidate, and completed once the token is known.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from typing import NamedTuple

import torch
from torch import Tensor

from moi import Mixture, MoIConfig, RowParams, load_policies
from moi.ops import resolve
from moi_serving.row_layout import NO_TOKEN

# Hosts that do not tell when a request ends never bring its id again, so the oldest entries may go.
CAPACITY = 8192


@functools.cache
def exclusive_policies(device: torch.device) -> Tensor:
    """Whether a policy is exclusive, bool by code."""
    return torch.tensor([policy.exclusive for policy in load_policies()], device=device)


class PendingMixture(NamedTuple):
    """Mixture of B rows, complete but for their tokens; policy int32 [B], code 0 is fed plainly; drawn: by uniforms."""

    policy: Tensor
    mixture: Mixture
    drawn: bool

    @classmethod
    def compute(cls, logits: Tensor, rows: RowParams, config: MoIConfig, placeholder: Tensor) -> PendingMixture:
        """Of logits [B,V]. K, entropy and prior are the config's.

        placeholder  int64 [B], stands where tokens will be: NO_TOKEN where the rows have uniforms
        """
        mixture = resolve("auto", logits.device).mix(
            logits, placeholder, rows, config.top_k, config.entropy, config.prior
        )
        return cls(rows.policy, mixture, rows.uniforms is not None)

    def complete(self, token: Tensor) -> Mixture:
        """With the tokens [B] that were sampled since. Takes the mixture over: it is completed once."""
        ids, weights, _ = self.mixture
        ids[:, 0] = token
        if self.drawn:  # exclusive policies draw
            exclusive = exclusive_policies(ids.device)[self.policy.long()][:, None]
            weights[:, 1:].masked_fill_(exclusive & (ids[:, 1:] == ids[:, :1]), 0.0)
            weights.div_(torch.where(exclusive, weights.sum(-1, keepdim=True), 1.0))
        return self.mixture


class PendingMixtures:
    """Pending mixtures by request id, on the device of their logits."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._rows: OrderedDict[int, PendingMixture] = OrderedDict()
        self._capacity = capacity

    def compute(
        self,
        request_ids: list[int],
        logits: Tensor,
        config: MoIConfig,
        temperature: float = 1.0,
        uniforms: Tensor | None = None,
    ) -> None:
        """Keep the mixture of each request, from its logits [R,V], and uniforms [R,8+K] if its policy draws."""
        count = len(request_ids)
        rows = RowParams.of([config] * count, [temperature] * count, logits.device)._replace(uniforms=uniforms)
        placeholder = torch.full((count,), NO_TOKEN, dtype=torch.int64, device=logits.device)
        pending = PendingMixture.compute(logits, rows, config, placeholder)
        for index, request in enumerate(request_ids):
            at = slice(index, index + 1)
            mixture = Mixture(*(each[at] for each in pending.mixture))
            self._rows[request] = PendingMixture(pending.policy[at], mixture, pending.drawn)
            self._rows.move_to_end(request)
        while len(self._rows) > self._capacity:
            self._rows.popitem(last=False)

    def forget(self, request_ids: list[int]) -> None:
        """Drop requests that start (again): a preempted request is prefilled anew from its ids."""
        for request in request_ids:
            self._rows.pop(request, None)

    def complete(self, request_ids: list[int], token: Tensor) -> list[tuple[list[int], Mixture]]:
        """Mixtures of the requests that have one, one batch per K: (positions in request_ids, mixture).

        token  [R] the sampled tokens. Each mixture is used once.
        """
        groups: dict[int, list[int]] = {}
        rows = {i: self._rows.pop(request) for i, request in enumerate(request_ids) if request in self._rows}
        for index, pending in rows.items():
            groups.setdefault(pending.mixture.ids.shape[1], []).append(index)
        return [(at, _stacked([rows[i] for i in at]).complete(token[at])) for at in groups.values()]

    def __contains__(self, request: int) -> bool:
        return request in self._rows

    def __len__(self) -> int:
        return len(self._rows)


def _stacked(rows: list[PendingMixture]) -> PendingMixture:
    fields = zip(*(row.mixture for row in rows), strict=True)
    mixture = Mixture(*(torch.cat(field) for field in fields))
    return PendingMixture(torch.cat([row.policy for row in rows]), mixture, any(row.drawn for row in rows))
