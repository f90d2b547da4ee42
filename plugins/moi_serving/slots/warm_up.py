"""All kernels of a step once, before the first request."""

from __future__ import annotations

from typing import Any

import torch

from moi_serving.row_layout import ids_of, weights_of
from moi_serving.slots.base import Slots


@torch.inference_mode()
def warm_up(slots: Slots, vocab: int, device: Any, padding: int = 0) -> None:
    """Plain rows through all kernels: compiled before the server is ready, not in its first request.

    padding  a slot that is no request's
    """
    logits = torch.zeros(2, vocab, device=device)
    at = torch.full((2,), padding, dtype=torch.int64, device=device)
    token = torch.zeros(2, dtype=torch.int64, device=device)
    for position in (None, token):
        pending = slots.compute(at, logits, torch.ones(2, device=device), position)
        for may_stop in (False, True):
            for integers in (torch.int64, torch.int32):  # greedy tokens, sampled ones
                rows = slots.store(at, pending, token.to(integers), token, may_stop)
    x = slots.mixer(ids_of(rows), weights_of(rows))
    slots.apply(x, at, token, token)
