"""What of a batch's embeddings is replaced by mixtures: of the tokens that were sampled last, and of those replayed.

Dims: B requests of a batch, T tokens of it, D embedding width, W words of a row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from moi_serving.replay import again
from moi_serving.row_layout import ids_of, weights_of
from moi_vllm.embedding import Change
from moi_vllm.host import worker as host
from moi_vllm.runtime import Runtime


def change_of(runtime: Runtime, batch: Any) -> Change | None:
    """Of the embeddings [T,D] of a batch; None where nothing is mixed in it."""
    if not runtime.states:
        return None
    slots = host.slots_on_host(batch)
    active = runtime.active[slots]
    if not active.any():
        return None
    replays = bool(runtime.replaying) and not runtime.replaying.isdisjoint(slots.tolist())
    decodes = host.token_count(batch) == host.row_count(batch)  # or a prompt ends with one token: nothing is due there
    if not decodes:
        decodes = bool((active & (host.computed(batch) >= host.prefill_lengths(batch))).any())
    if not decodes and not replays:
        return None

    def change(x: Tensor) -> Tensor:
        if decodes:
            x = decoded(runtime, batch, x)
        return replayed(runtime, batch, x) if replays else x

    return change


def decoded(runtime: Runtime, batch: Any, x: Tensor) -> Tensor:
    """x [T,D] with the mixtures that are due for the last token of each request."""
    count, slots = host.row_count(batch), host.slots(batch)
    ids, positions = host.input_ids(batch), host.positions(batch)
    if host.token_count(batch) == count:  # one each
        if len(ids) != count:  # a graph has more
            ids, positions = ids[:count], positions[:count]
        return runtime.slots.apply(x, slots, ids, positions)
    last = host.ends(batch)[1 : count + 1].long() - 1
    rows = x.index_select(0, last)
    rows = runtime.slots.apply(rows, slots, ids.index_select(0, last), positions.index_select(0, last))
    return x.index_copy(0, last, rows)


def replayed(runtime: Runtime, batch: Any, x: Tensor) -> Tensor:
    """x [T,D] with what the generated tokens that are prefilled again were fed as."""
    starts, lengths = host.computed(batch).tolist(), host.scheduled(batch).tolist()
    offsets, ends = host.ends_on_host(batch).tolist(), host.prefill_lengths(batch).tolist()
    at, rows = [], []
    for index, slot in enumerate(host.slots_on_host(batch).tolist()):
        state = runtime.in_slot[slot]
        if slot not in runtime.replaying or state is None:
            continue
        places, found = again(state, starts[index] - runtime.prompt_length[slot], lengths[index])
        if len(places):
            at.append(places + offsets[index])
            rows.append(found)
        if starts[index] + lengths[index] >= ends[index]:
            runtime.replaying.discard(slot)
    if not at:
        return x
    mixtures = runtime.slots.tables.upload(np.concatenate(rows))
    mixed = runtime.slots.mixer(ids_of(mixtures), weights_of(mixtures))
    return x.index_copy(0, runtime.slots.tables.upload(np.concatenate(at).astype(np.int64)), mixed)
