"""The K largest logits of each row, in an order that ties cannot upset. Dims: B rows, V vocabulary, K candidates."""

from __future__ import annotations

import torch
from torch import Tensor

_MOST_TIED = 8  # times k: beyond, packed keys are faster than another selection


def largest(logits: Tensor, k: int) -> Tensor:
    """Ids of the k largest float32 logits of each row, int64 [B,k], by (logit desc, id asc).

    A stable descending sort gives the same at many times the price.
    """
    if logits.device.type == "cpu" and not torch.compiler.is_compiling():  # looking at values costs nothing there
        values, ids = torch.topk(logits, k)
        reached = int((logits >= values[:, -1:]).sum(-1).amax()) if values.numel() else 0
        if reached > k:  # some of those that tie with the last were left out
            if reached > _MOST_TIED * k:
                return _largest_keys(logits, k)
            values, ids = torch.topk(logits, reached)
        return _in_order(values, ids)[:, :k]
    return _largest_keys(logits, k)


def _in_order(values: Tensor, ids: Tensor) -> Tensor:
    """Ids [B,n] by (value desc, id asc), given by value desc."""
    if bool((values[:, 1:] < values[:, :-1]).all()):
        return ids
    ids, place = ids.sort(-1)
    values = values.gather(1, place) + 0.0  # torch.sort puts 0.0 before -0.0
    return ids.gather(1, values.sort(dim=-1, descending=True, stable=True).indices)


def _largest_keys(logits: Tensor, k: int) -> Tensor:
    """Value and id packed into one integer key: unique, so any selection gives the one order."""
    bits = (logits + 0.0).view(torch.int32)  # + 0.0 turns -0.0 into 0.0: equal numbers tie
    value = torch.where(bits >= 0, bits, bits ^ 0x7FFFFFFF).long()
    ids = torch.arange(logits.shape[-1], device=logits.device)
    return torch.topk((value << 32) | (0x7FFFFFFF - ids), k, dim=-1).indices
