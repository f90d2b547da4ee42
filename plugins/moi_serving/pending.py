"""What a worker remembers between two steps of a request: its mixture, of which only the token is missing.

The weights of a mixture do not depend on the sampled token, so they are computed when the logits are at
hand; the token arrives with the next step's input_ids and becomes slot 0.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor

from moi import Mixture, MoIConfig, mix

# Requests that finish are not reported to us; their ids never come back, so the oldest entries go.
CAPACITY = 8192


class Pending:
    """Mixtures by request id, on the device of their logits."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._rows: OrderedDict[int, tuple[Tensor, Tensor]] = OrderedDict()
        self._capacity = capacity

    def remember(self, request_ids: list[int], logits: Tensor, config: MoIConfig, temperature: float = 1.0) -> None:
        """Take the candidates of each request from its logits [R,V]."""
        token = torch.zeros(len(request_ids), dtype=torch.int64, device=logits.device)
        mixture = mix(logits, token, config, temperature=temperature)
        for index, request in enumerate(request_ids):
            self._rows[request] = (mixture.ids[index], mixture.weights[index])
            self._rows.move_to_end(request)
        while len(self._rows) > self._capacity:
            self._rows.popitem(last=False)

    def forget(self, request_ids: list[int]) -> None:
        """Drop requests that start (again): a preempted request is prefilled anew from its ids."""
        for request in request_ids:
            self._rows.pop(request, None)

    def take(self, request_ids: list[int], token: Tensor) -> list[tuple[list[int], Mixture]]:
        """Mixtures of the requests that have one, one batch per K: (positions in request_ids, mixture).

        token  [R] the sampled tokens. Each mixture is used once.
        """
        groups: dict[int, list[int]] = {}
        rows = {i: self._rows.pop(request) for i, request in enumerate(request_ids) if request in self._rows}
        for index, (ids, _) in rows.items():
            groups.setdefault(len(ids), []).append(index)
        return [(indices, _stack([rows[i] for i in indices], token[indices])) for indices in groups.values()]

    def __contains__(self, request: int) -> bool:
        return request in self._rows

    def __len__(self) -> int:
        return len(self._rows)


def _stack(rows: list[tuple[Tensor, Tensor]], token: Tensor) -> Mixture:
    ids = torch.stack([row[0] for row in rows])
    ids = torch.cat([token[:, None].to(ids.dtype), ids[:, 1:]], 1)
    weights = torch.stack([row[1] for row in rows])
    return Mixture(ids, weights, torch.zeros_like(weights[:, 0]))


# One per worker process: the logits processor of a request and the model find each other here.
PENDING = Pending()
